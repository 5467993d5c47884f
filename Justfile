# The everyday verbs. Each is one line over the cargo aliases, so that nobody needs just.

# lists the verbs
default:
    @just --list

# the checks of a change; `just verify tidy`, `just verify --all`
verify *ARGS:
    cargo verify {{ARGS}}

# formats, and applies what clippy can mend
fix:
    cargo fix-all

# boots machines; `just up --nodes 1 --on nspawn`
up *ARGS:
    cargo keelson up {{ARGS}}

# the machines of the cluster
status *ARGS:
    cargo keelson status {{ARGS}}

# logs in, or runs a command: `just ssh core-01 -- uptime`
ssh *ARGS:
    cargo keelson ssh {{ARGS}}

# stops the machines, keeps their disks
down *ARGS:
    cargo keelson down {{ARGS}}

# removes the machines and their disks
destroy *ARGS:
    cargo keelson destroy {{ARGS}}

# builds the image from os/packages.lock
image *ARGS:
    cargo keelson image build {{ARGS}}

# resolves os/packages to os/packages.lock
lock *ARGS:
    cargo keelson image lock {{ARGS}}

# runs scenarios; `just scenario first-boot --on nspawn`
scenario *ARGS:
    cargo keelson test {{ARGS}}

# what this host lacks; `just doctor --install`
doctor *ARGS:
    cargo keelson doctor {{ARGS}}
