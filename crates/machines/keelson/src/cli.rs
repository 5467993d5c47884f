//! The command line as clap parses it. Each verb defines its own flags.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::global::Global;
use crate::verbs;

#[derive(Debug, Parser)]
#[command(name = "keelson", version, about = "Build Keelson images and run machines from them", long_about = None)]
#[command(after_help = "Examples:\n  keelson up                 three machines, ready to log in\n  \
    keelson ssh core-01        log in\n  keelson destroy            remove them again")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check the host's requirements, and install missing packages
    #[command(
        after_help = "Examples:\n  keelson doctor\n  keelson doctor --install\n  keelson doctor --json"
    )]
    Doctor(verbs::doctor::Flags),
    /// Build, verify and compare images
    #[command(after_help = "Example:\n  keelson image build --out out")]
    Image(crate::image::Flags),
    /// Boot machines and wait until they are ready
    #[command(after_help = "Examples:\n  keelson up\n  keelson up --nodes 1 --memory 2048\n  \
        keelson up --user-data my-config.yaml --on nspawn\n  keelson up --provision\n  \
        keelson up --channel beta --update-server http://127.0.0.1:8041\n  \
        keelson up --image keelson-9999.1.0-alpha.qcow2")]
    Up(verbs::up::Flags),
    /// Show the machines of the cluster
    #[command(after_help = "Examples:\n  keelson status\n  keelson status --json --cluster test")]
    Status,
    /// Log in to a machine, or run a command on it
    #[command(after_help = "Examples:\n  keelson ssh core-01\n  keelson ssh core-01 -- -A\n  \
        keelson ssh core-01 -- systemctl --failed")]
    Ssh(verbs::ssh::Flags),
    /// Attach to a machine's serial console (Ctrl-] detaches), or print its log
    #[command(after_help = "Examples:\n  keelson console core-01\n  keelson console core-01 --log")]
    Console(verbs::console::Flags),
    /// Power off a machine without a shutdown
    #[command(after_help = "Example:\n  keelson crash core-02 && keelson start core-02")]
    Crash(verbs::power::Flags),
    /// Reboot a machine and wait until it is ready
    #[command(after_help = "Example:\n  keelson reboot core-02")]
    Reboot(verbs::power::Flags),
    /// Boot a stopped machine again and wait until it is ready
    #[command(after_help = "Example:\n  keelson start core-02")]
    Start(verbs::power::Flags),
    /// Stop the machines and keep their disks
    #[command(after_help = "Example:\n  keelson down && keelson up")]
    Down,
    /// Stop the machines and remove their disks
    #[command(after_help = "Example:\n  keelson destroy --cluster test")]
    Destroy,
    /// Run test scenarios on temporary machines
    #[command(
        after_help = "Examples:\n  keelson test --list\n  keelson test boots --on nspawn\n  keelson test --long"
    )]
    Test(verbs::test::Flags),
    /// Install the system to a disk of this host, or as a new disk image
    #[command(after_help = "Exit status is 0 if the system was installed, and for --dry-run.\n\n\
        Examples:\n  keelson install --to disk.raw -f dist/keelson-9999.1.0-alpha.raw --size 20 -c user-data\n  \
        sudo keelson install --to /dev/sdb -C alpha --update-server https://updates.example.net\n  \
        keelson install --to disk.raw --force -f dist/keelson-9999.1.0-alpha.raw.zst")]
    Install(verbs::install::Flags),
    /// Issue and rotate the certificates of a cluster with TLS
    Ca(verbs::ca::Flags),
    /// Create and rotate the keys that sign releases and channels
    #[command(
        after_help = "Root and release keys are encrypted with a password, in minisign's format. The channel key is not:\n\
        the channel server reads it unattended. It can only select among signed releases.\n\n\
        Examples:\n  keelson keys\n  keelson keys --pin --name acme\n  \
        keelson keys --root-dir /media/a --root-dir /media/b --root-dir /media/c\n  \
        keelson keys rotate --replace release && keelson keys publish"
    )]
    Keys(verbs::keys::Flags),
    /// Build a version, and pack and sign it as an update
    #[command(after_help = "Examples:\n  keelson release --version 9999.2.0\n  \
        keelson release --version 9999.3.0 --from target/releases/9999.2.0 --bundle")]
    Release(verbs::release::Flags),
    /// Validate a cloud-config
    #[command(
        after_help = "Examples:\n  keelson validate user-data\n  cat user-data | keelson validate -\n  keelson validate --plan user-data\n  keelson validate --serve\n  keelson validate --schema >cloud-config.schema.json"
    )]
    Validate(verbs::validate::Flags),
    /// Write a config drive with user-data, for hypervisors that attach disks and CD-ROMs
    #[command(
        after_help = "User-data, and all secrets in it, are in the file in the clear.\n\nExamples:\n  \
        keelson config-drive --user-data user-data -o config-drive.iso\n  \
        keelson config-drive --user-data user-data --meta-data meta_data.json -o config-drive.vfat"
    )]
    ConfigDrive(verbs::config_drive::Flags),
    /// Write a Vagrantfile for the box of a channel, with machines as config.rb describes them
    #[command(after_help = "Examples:\n  keelson vagrantfile\n  keelson vagrantfile --channel beta -o -\n  \
        keelson vagrantfile --box-url http://files.example.net/keelson-alpha.json")]
    Vagrantfile(verbs::vagrantfile::Flags),
    /// Run the channel server, which serves updates to machines and a web page to operators
    #[command(after_help = "Examples:\n  keelson serve-updates\n  \
        keelson serve-updates --listen 0.0.0.0:8041 --data /srv/updates --key /srv/keys/channel.key \\\n    \
        --public-url https://updates.example.net")]
    ServeUpdates(verbs::serve_updates::Flags),
    /// Boot machines from the network: proxy DHCP or DHCP, TFTP, HTTP, and a web page of their progress
    #[command(after_help = "Examples:\n  sudo keelson serve-netboot --images dist --user-data user-data\n  \
        sudo keelson serve-netboot --images dist --rules netboot.toml --address 10.9.0.1\n  \
        sudo keelson serve-netboot --images dist --address 10.9.0.1 --dhcp 10.9.0.100-10.9.0.199\n  \
        keelson serve-netboot --images dist --no-dhcp --tftp-port 6969\n  \
        keelson serve-netboot --images dist --print-dnsmasq >/etc/dnsmasq.d/keelson.conf")]
    ServeNetboot(verbs::serve_netboot::Flags),
    /// Publish a version to a channel
    #[command(after_help = "Examples:\n  keelson publish --channel alpha target/releases/9999.2.0\n  \
        keelson publish --channel beta 9999.2.0\n  \
        keelson publish --channel alpha target/releases/9999.2.0 --server https://updates.example.net --token-file token")]
    Publish(verbs::publish::Flags),
    /// Show and change channels, rollouts and machines
    #[command(after_help = "Examples:\n  keelson channel list\n  keelson channel promote alpha beta\n  \
        keelson channel pause alpha --why \"it hangs\"\n  keelson channel rollout stable --percent 10 --at-once 5\n  \
        keelson channel set alpha 9999.1.0")]
    Channel(verbs::channel::Flags),
    /// Simulate machines that poll a channel server, to test or measure it
    #[command(
        hide = true,
        after_help = "Examples:\n  \
        keelson fake-machines --url http://127.0.0.1:8041/v1/update/ --count 3 --version 1.0.0\n  \
        keelson fake-machines --url http://127.0.0.1:8041/v1/update/ --count 10000 --version 1.0.0 --load 60"
    )]
    FakeMachines(verbs::fake_machines::Flags),
    /// Print the completions for a shell
    #[command(after_help = "Example:\n  keelson completions bash >/etc/bash_completion.d/keelson")]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write all manual pages to a folder
    #[command(after_help = "Examples:\n  keelson man | man -l -\n  keelson man --out share/man/man1")]
    Man {
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Background processes that keelson starts
    #[command(subcommand, hide = true)]
    Internal(verbs::internal::Task),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn builds_for_trial_runs_use_the_quick_profile() {
        let check = |arguments: &[&str], expect: &str| {
            let command = Cli::command();
            let matches = command.get_matches_from([&["keelson"], arguments].concat());
            let (mut name, mut verb) = matches.subcommand().unwrap();
            while let Some(subcommand) = verb.subcommand() {
                (name, verb) = subcommand;
            }
            let profile = verb.get_one::<image::programs::Profile>("profile").unwrap();
            assert_eq!(profile.name(), expect, "{name}");
        };
        check(&["up"], "quick");
        check(&["test"], "quick");
        check(&["image", "build"], "node");
        check(&["up", "--profile", "node"], "node");
    }

    #[test]
    fn flags_do_not_collide_and_every_verb_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") || verb.has_subcommands(), "{} shows none", verb.get_name());
        }
    }
}
