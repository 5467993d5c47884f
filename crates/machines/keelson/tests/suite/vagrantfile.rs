//! The Vagrantfile of `keelson vagrantfile`, evaluated by Ruby with a `Vagrant` that prints what is set.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// Prints each call and assignment of a configuration, a line each.
const VAGRANT: &str = r##"
class Recorder < BasicObject
  def initialize(path)
    @path = path
  end

  def method_missing(name, *arguments, **options, &block)
    text = arguments.map(&:to_s) + options.map { |key, value| "#{key}=#{value}" }
    ::Kernel.puts "#{@path}#{name} #{text.join(' ')}" unless text.empty?
    inner = ::Recorder.new(block && name == :define ? "#{arguments.first} " : "#{@path}#{name} ")
    block ? block.call(inner) : inner
  end
end

module Vagrant
  def self.require_version(*) = nil

  def self.configure(_)
    yield Recorder.new("")
  end
end
"##;

fn keelson(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keelson"))
        .arg("vagrantfile")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// What the Vagrantfile sets with this `config.rb`.
fn evaluated(folder: &Path, config: &str) -> Vec<String> {
    fs::write(folder.join("config.rb"), config).unwrap();
    fs::write(folder.join("vagrant.rb"), VAGRANT).unwrap();
    let output = Command::new("ruby")
        .args(["-r", "./vagrant.rb", "Vagrantfile"])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("ruby: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn config_rb_describes_the_machines() {
    let folder = tempfile::tempdir().unwrap();
    assert!(keelson(folder.path(), &[]).status.success());
    let defaults = evaluated(folder.path(), "");
    for line in [
        "vm box= keelson-alpha",
        "ssh forward_agent= true",
        "vm define core-01",
        "core-01 vm hostname= core-01",
        "core-01 vm network private_network ip=172.17.8.101",
        "core-01 vm provider libvirt",
        "core-01 vm provider memory= 1024",
    ] {
        assert!(defaults.iter().any(|found| found == line), "{line} in {defaults:#?}");
    }
    assert!(
        !defaults.iter().any(|line| line.contains("core-02") || line.contains("provision ")),
        "{defaults:#?}"
    );

    fs::write(folder.path().join("user-data"), "#cloud-config\n").unwrap();
    let all = evaluated(
        folder.path(),
        "$num_instances=3\n$instance_name_prefix='web'\n$update_channel='beta'\n$image_version='9999.2.0'\n\
         $vb_memory=2048\n$vm_cpus=2\n$vm_gui=true\n$vb_cpuexecutioncap=50\n$enable_serial_logging=true\n\
         $share_home=true\n$shared_folders={'/srv'=>'/home/core/srv'}\n$forwarded_ports={80=>8080}\n\
         $expose_docker_tcp=2375\n$new_discovery_url='https://discovery.example.net/new'\n",
    );
    for line in [
        "vm box= keelson-beta",
        "vm box_version= 9999.2.0",
        "vm define web-03",
        "web-03 vm network private_network ip=172.17.8.103",
        "web-03 vm network forwarded_port guest=80 host=8080 auto_correct=true",
        "web-03 vm network forwarded_port guest=2375 host=2377 auto_correct=true",
        "web-03 vm synced_folder /srv /home/core/srv type=rsync",
        "web-03 vm provider memory= 2048",
        "web-03 vm provider cpus= 2",
        "web-03 vm provider gui= true",
        "web-03 vm provision shell privileged=true inline=mv /tmp/vagrantfile-user-data /var/lib/coreos-vagrant/",
    ] {
        assert!(all.iter().any(|found| found == line), "{line} in {all:#?}");
    }
    let has = |text: &str| all.iter().any(|found| found.contains(text));
    assert!(has("--cpuexecutioncap\", \"50\"") && has("id=home type=rsync"), "{all:#?}");
    assert!(folder.path().join("log/web-03-serial.txt").exists());
}

#[test]
fn a_file_with_other_content_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Vagrantfile"), "mine").unwrap();
    let refused = keelson(folder.path(), &[]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("Vagrantfile exists with other content: --force replaces it"), "{message}");
    assert_eq!(fs::read(folder.path().join("Vagrantfile")).unwrap(), b"mine");
    assert!(keelson(folder.path(), &["--force", "--channel", "beta"]).status.success());
    assert!(keelson(folder.path(), &["--channel", "beta"]).status.success(), "the same again");
    let printed = keelson(folder.path(), &["--channel", "beta", "-o", "-"]);
    assert_eq!(fs::read(folder.path().join("Vagrantfile")).unwrap(), printed.stdout);
}

#[test]
fn a_channel_server_has_the_box_of_the_channel() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(keelson(at, &["--server", "https://updates.example.net/"]).status.success());
    for channel in ["alpha", "beta"] {
        let all = evaluated(at, &format!("$update_channel='{channel}'"));
        let catalog =
            format!("https://updates.example.net/images/{channel}/amd64-usr/coreos_production_vagrant.json");
        for line in [format!("vm box= coreos-{channel}"), format!("vm box_url= {catalog}")] {
            assert!(all.contains(&line), "{line} in {all:#?}");
        }
    }
    let both = keelson(at, &["--server", "https://updates.example.net/", "--box-url", "x", "--force"]);
    assert_eq!(both.status.code(), Some(2));
}
