#!/bin/sh
echo "check.sh is being written"; exit 1
