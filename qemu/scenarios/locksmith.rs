//! The reboot lock on whole machines: which machine reboots when, and where its units move.

pub(super) mod boots;
pub mod commands;
pub mod one_at_a_time;
pub mod unhealthy;

/// Runs locksmithd in a container too, and without its wait for logged-in users: the tests are logged in.
pub(super) const UNIT: &str = "    \
- name: locksmithd.service
      command: restart
      drop-ins:
        - name: 10-test.conf
          content: |
            [Unit]
            ConditionVirtualization=
            [Service]
            Environment=LOCKSMITHD_LOGIN_DELAY=0s LOCKSMITHD_RETRY_INTERVAL=1s
";

/// Requests a reboot from a machine's locksmithd, detached: the reboot may kill the command.
const SEND: &str = "sudo systemd-run --quiet locksmithctl send-need-reboot";
