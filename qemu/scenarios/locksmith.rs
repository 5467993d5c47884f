//! The reboot lock on whole machines: who reboots when, and what becomes of what ran there.

mod boots;
pub mod commands;
pub mod one_at_a_time;
pub mod unhealthy;

/// locksmithd runs in a container too, and waits for nobody who is logged in: the tests are.
const UNIT: &str = "    \
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

/// Tells a machine's locksmithd that a reboot is needed. The command itself may see the end of the boot.
const SEND: &str = "sudo systemd-run --quiet locksmithctl send-need-reboot";
