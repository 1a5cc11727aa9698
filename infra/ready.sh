#!/bin/bash
# ready <port> <path>: for Docker's health checks, whether our own port answers with 200. Needs nothing but bash.
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3
read -r -t 8 _ status _ <&3
echo "$2 answers with ${status:-nothing}"
[[ $status == 200 ]]
