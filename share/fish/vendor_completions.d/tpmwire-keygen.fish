# Completion of tpmwire-keygen for fish, made by 'tpmwire completion fish'.

complete -c tpmwire-keygen -f
complete -c tpmwire-keygen -s h -l help -d 'show this help message and exit'
complete -c tpmwire-keygen -s t -x -a 'ecdsa rsa' -d 'type of key (ecdsa)'
complete -c tpmwire-keygen -s b -x -d 'size: 256, 384, 521 for ecdsa'
complete -c tpmwire-keygen -s f -r -F -d 'write NAME.tpm and NAME.pub'
complete -c tpmwire-keygen -s C -x -d 'comment in NAME.pub (USER@HOST)'
complete -c tpmwire-keygen -s N -x -d 'PIN of the key (\'\' for none), which others may see while this runs'
complete -c tpmwire-keygen -s q -d 'say nothing but errors and warnings'
complete -c tpmwire-keygen -l tpm -x -a 'device: swtpm:path= swtpm:host= mssim:host= embedded: pcap:' -d 'the TPM to use: device:/dev/tpmrm0 (the default), swtpm:path=SOCKET, ...'
complete -c tpmwire-keygen -l parent -x -d 'owner, endorsement, platform, null (a key for as long as the machine ...'
complete -c tpmwire-keygen -l version -d 'show program\'s version number and exit'
