# shellcheck shell=sh
# What a person should know at once; commands over ssh and copies are not spoken to.
case $- in
*i*) [ -e "$HOME/.hushlogin" ] || /usr/lib/keelson/keelson-motd ;;
esac
