# Completion of tpmwire-agent for fish, made by 'tpmwire completion fish'.

complete -c tpmwire-agent -f
complete -c tpmwire-agent -s h -l help -d 'show this help message and exit'
complete -c tpmwire-agent -s a -r -F -d 'listen on this path'
complete -c tpmwire-agent -s c -d 'print commands for a C shell'
complete -c tpmwire-agent -s s -d 'print commands for other shells'
complete -c tpmwire-agent -s D -d 'stay in the foreground'
complete -c tpmwire-agent -s k -d 'end the agent of $SSH_AGENT_PID'
complete -c tpmwire-agent -l key-dir -x -a '(__fish_complete_directories)' -d 'use all *.tpm files in DIR (~/.ssh if no file is named)'
complete -c tpmwire-agent -l tpm -x -a 'device: swtpm:path= swtpm:host= mssim:host= embedded: pcap:' -d 'the TPM to use: device:/dev/tpmrm0 (the default), swtpm:path=SOCKET, ...'
complete -c tpmwire-agent -l version -d 'show program\'s version number and exit'
complete -c tpmwire-agent -n 'true' -F
