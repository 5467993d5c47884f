[ -n "${BASH_VERSION-}" ] && [ -f "$HOME/.bashrc" ] && . "$HOME/.bashrc"
