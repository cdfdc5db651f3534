# Completion of tpmwire-agent for fish, made by 'tpmwire completion fish'.

complete -c tpmwire-agent -f
complete -c tpmwire-agent -s h -l help -d 'show this help message and exit'
complete -c tpmwire-agent -s a -r -F -d 'listen on this path'
complete -c tpmwire-agent -s c -d 'print commands for a C shell'
complete -c tpmwire-agent -s s -d 'print commands for other shells'
complete -c tpmwire-agent -s D -d 'stay in the foreground'
complete -c tpmwire-agent -s k -d 'end the agent of $SSH_AGENT_PID'
complete -c tpmwire-agent -s v -d 'log each use of a key, not only failures'
complete -c tpmwire-agent -l log-json -d 'log JSON objects, one a line'
complete -c tpmwire-agent -l version -d 'show program\'s version number and exit'
complete -c tpmwire-agent -l key-dir -x -a '(__fish_complete_directories)' -d 'use all *.tpm files in DIR (~/.ssh if no file is named)'
complete -c tpmwire-agent -l tpm -x -a 'device: swtpm:path= swtpm:host= mssim:host= embedded: pcap:' -d 'the TPM to use: device:/dev/tpmrm0 (the default), swtpm:path=SOCKET, ...'
complete -c tpmwire-agent -l pin-timeout -x -d 'remember a PIN for so long after it was given (not at all)'
complete -c tpmwire-agent -l verify-pins -d 'try a PIN out when ssh-add -s gives it'
complete -c tpmwire-agent -l proxy -r -F -d 'offer the keys of another agent, too'
complete -c tpmwire-agent -l only -x -d 'sign nothing but these, with commas between them: userauth (logins), ...'
complete -c tpmwire-agent -l notify -d 'tell the desktop of each use of a key'
complete -c tpmwire-agent -l install-user-units -d 'write units that start your agent when its first client comes'
complete -c tpmwire-agent -l install-system-units -d 'write units that start an agent with the host keys of sshd when its ...'
complete -c tpmwire-agent -n 'true' -F
