//! What networks of pods leave, and what they do not touch.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command};

use nix::sys::signal::Signal;

use crate::lab::{IMAGE, Lab, Running};

/// What a program prints in the network namespace.
fn output(lab: &Lab, arguments: &[&str]) -> String {
    let printed = lab.network_command(arguments).output().unwrap();
    assert!(printed.status.success(), "{arguments:?}: {printed:?}");
    String::from_utf8(printed.stdout).unwrap()
}

fn interface(pod: &Running) -> String {
    format!("rkt{}", &pod.uuid[..8])
}

const TABLE: &str = "\
table ip rkt-UUID {
	chain loopback {
		type filter hook prerouting priority raw; policy accept;
		iifname \"rkt0\" ip saddr 172.16.28.2 ip daddr 127.0.0.0/8 drop
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		fib daddr type local tcp dport 8080 dnat to 172.16.28.2:80
		ip daddr 10.9.9.1 udp dport 5353 dnat to 172.16.28.2:53
	}

	chain output {
		type nat hook output priority dstnat; policy accept;
		fib daddr type local tcp dport 8080 dnat to 172.16.28.2:80
		ip daddr 10.9.9.1 udp dport 5353 dnat to 172.16.28.2:53
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 172.16.28.2 ip daddr != 172.16.28.0/24 masquerade
		ip saddr 127.0.0.0/8 ip daddr 172.16.28.2 masquerade
		ip saddr 172.16.28.2 ip daddr 172.16.28.2 masquerade
	}
}
";

#[test]
fn the_rules_of_a_pod() {
    let Some(lab) = Lab::with_network("the_rules_of_a_pod") else { return };
    let ports = ["--net=default", "--port=80-tcp:8080", "--port=53-udp:10.9.9.1:5353"];
    let pod = lab.spawn(&ports, "sleep 100000");
    // Versions of nft differ in the name of one priority.
    let listed = output(&lab, &["nft", "list", "ruleset"]).replace("priority -100", "priority dstnat");
    assert_eq!(listed, TABLE.replace("UUID", &pod.uuid));
    let links = output(&lab, &["ip", "-o", "link"]);
    assert!(
        links.contains(&interface(&pod)) && links.contains("mtu 1500 qdisc noqueue master rkt0"),
        "{links}"
    );
    lab.ok(&["stop", &pod.uuid]);
    assert_eq!(pod.finish().code, Some(0));
    assert_eq!(output(&lab, &["nft", "list", "ruleset"]), "");
    let links = output(&lab, &["ip", "-o", "link"]);
    assert!(links.contains("rkt0") && links.lines().count() == 2, "{links}");
}

/// The kernel's netlink is enough.
#[test]
fn a_network_needs_no_program() {
    let Some(lab) = Lab::with_network("a_network_needs_no_program") else { return };
    let folder = lab.path("programs");
    fs::create_dir(&folder).unwrap();
    // What the test itself starts, and the runtime.
    for program in ["crun", "mount", "nsenter", "sh", "unshare"] {
        let found = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|folder| format!("{folder}/{program}"));
        let found = found.iter().find(|path| fs::exists(path).unwrap()).unwrap();
        symlink(found, format!("{folder}/{program}")).unwrap();
    }
    let run =
        ["run", "--insecure-options=image", "--port=80-tcp:8080", IMAGE, "--exec=ip", "--", "route", "show"];
    let printed = lab.command(&run).env("PATH", &folder).output().unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&printed.stderr);
    assert!(text.contains("default via 172.16.28.1 dev eth0"), "{text} {stderr}");
}

#[test]
fn pods_with_the_same_port() {
    let Some(lab) = Lab::with_network("pods_with_the_same_port") else { return };
    let server = |text: &str| format!("while true; do echo {text} | nc -l -p 80; done");
    let one = lab.spawn(&["--net=default", "--port=80-tcp:10.9.9.1:8080"], &server("one"));
    let refused = |port: &str| {
        let port = format!("--port={port}");
        let run = ["run", "--insecure-options=image", &port, IMAGE, "--exec=id"];
        lab.fails(&run, &format!("port 8080 of the host is forwarded to pod {}", one.uuid));
    };
    refused("81-tcp:8080");
    refused("80-tcp:10.9.9.1:8080");
    // Another address, and another protocol.
    let other = lab.spawn(&["--net=default", "--port=80-tcp:127.0.0.1:8080"], &server("other"));
    let protocol = lab.spawn(&["--net=default", "--port=80-udp:10.9.9.1:8080"], "sleep 100000");
    let answers = |address: &str| {
        let script = format!("busybox nc -w 2 {address} 8080 </dev/null");
        lab.wait_for("an answer", || {
            let printed = lab.network_command(&["sh", "-c", &script]).output().unwrap();
            let text = String::from_utf8(printed.stdout).unwrap();
            if text.is_empty() { Err(address.to_owned()) } else { Ok(text) }
        })
    };
    assert_eq!((answers("10.9.9.1"), answers("127.0.0.1")), ("one\n".to_owned(), "other\n".to_owned()));
    drop((other, protocol));
}

/// A process in the network namespace of a pod, which keeps it.
struct NamespaceHolder(Child);

impl NamespaceHolder {
    fn of(lab: &Lab, pod: &Running) -> Self {
        let status = lab.ok(&["status", &pod.uuid]);
        let pid = status.lines().find_map(|line| line.strip_prefix("pid=")).unwrap().to_owned();
        let namespace = format!("/proc/{pid}/ns/net");
        let of_pod = fs::read_link(&namespace).unwrap();
        let holder = Self(
            Command::new("nsenter")
                .arg(format!("--net={namespace}"))
                .args(["sleep", "1000"])
                .spawn()
                .unwrap(),
        );
        let own = format!("/proc/{}/ns/net", holder.0.id());
        lab.wait_for("a process in the pod's network namespace", || {
            let found = fs::read_link(&own).unwrap();
            if found == of_pod { Ok(()) } else { Err(found.display().to_string()) }
        });
        holder
    }
}

impl Drop for NamespaceHolder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn interfaces_of_a_killed_rkt_are_removed() {
    let Some(lab) = Lab::with_network("interfaces_of_a_killed_rkt_are_removed") else { return };
    let start = || lab.spawn(&["--net=default", "--port=80-tcp:8080"], "sleep 100000");
    let has = |interface: &str| output(&lab, &["ip", "-o", "link"]).contains(interface);
    let tables = || output(&lab, &["nft", "list", "tables"]);
    // One that another program keeps, with the pod's address in it.
    let kill = |pod: Running| {
        let (uuid, interface, holder) = (pod.uuid.clone(), interface(&pod), NamespaceHolder::of(&lab, &pod));
        pod.signal(Signal::SIGKILL);
        pod.finish();
        lab.wait_for("end of the pod", || match lab.state(&uuid).as_str() {
            "exited" => Ok(()),
            other => Err(other.to_owned()),
        });
        assert!(has(&interface) && tables().contains(&uuid));
        (uuid, interface, holder)
    };
    let (uuid, interface, _one) = kill(start());
    // Of no pod: one with such a name remains.
    assert!(lab.in_network(&["ip", "link", "add", "rkt0a", "type", "veth", "peer", "name", "rkt0b"]));
    let next = start();
    assert!(lab.ok(&["status", &next.uuid]).contains("ip4=172.16.28.2\n"));
    assert!(!has(&interface) && !tables().contains(&uuid) && has("rkt0a"));
    let (uuid, interface, _two) = kill(next);
    lab.ok(&["gc", "--grace-period=0s"]);
    assert!(!has(&interface) && !tables().contains(&uuid) && has("rkt0a"));
}

const OTHERS: &str = "
table ip rkt-other {
    chain input {
        type filter hook input priority 0
        accept
    }
}
table inet rkt {
    chain forward {
        type filter hook forward priority 0
        ip saddr 192.0.2.1 drop
    }
}
table ip rkt-00000000-0000-4000-8000-000000000000 {
    chain own {
        counter
    }
}
";

/// Also those whose names begin as rkt's, and Docker's.
#[test]
fn rules_of_other_programs_remain() {
    let Some(lab) = Lab::with_network("rules_of_other_programs_remain") else { return };
    fs::write(lab.path("others"), OTHERS).unwrap();
    assert!(lab.in_network(&["nft", "-f", &lab.path("others")]));
    let docker = "iptables-nft -N DOCKER-USER && iptables-nft -A DOCKER-USER -s 192.0.2.2 -j DROP && \
                  iptables-nft -A DOCKER-USER -j RETURN";
    let has_docker = lab.in_network(&["sh", "-c", docker]);
    let rules = || output(&lab, &["nft", "--stateless", "list", "ruleset"]);
    let before = rules();
    let run = |net: &str| {
        lab.ok(&["run", "--insecure-options=image", net, "--port=80-tcp:8080", IMAGE, "--exec=id"]);
    };
    run("--net=default");
    let after = rules();
    if has_docker {
        let added: Vec<&str> = after.lines().filter(|line| line.contains("rkt0")).map(str::trim).collect();
        assert!(added.len() == 2 && added.iter().all(|line| line.ends_with("accept")), "{after}");
        let without: Vec<&str> = after.lines().filter(|line| !line.contains("rkt0")).collect();
        assert_eq!(without, before.lines().collect::<Vec<_>>());
        // As iptables lists them, and in its order: before those of users.
        let listed = output(&lab, &["iptables-nft", "-S", "DOCKER-USER"]);
        assert!(
            listed.starts_with(
                "-N DOCKER-USER\n-A DOCKER-USER -o rkt0 -j ACCEPT\n-A DOCKER-USER -i rkt0 -j ACCEPT\n"
            ),
            "{listed}"
        );
    } else {
        assert_eq!(after, before);
    }
    let killed = lab.spawn(&["--net=default", "--port=80-tcp:8080"], "sleep 100000");
    killed.signal(Signal::SIGKILL);
    killed.finish();
    run("--net=default");
    lab.ok(&["gc", "--grace-period=0s"]);
    assert_eq!(rules(), after);
    if has_docker {
        // An operator's are as good; one for the beginning of names is another.
        let script = "iptables-nft -F DOCKER-USER && iptables-nft -A DOCKER-USER -i rkt0 -j ACCEPT && \
                      iptables-nft -A DOCKER-USER -o rkt+ -j ACCEPT";
        assert!(lab.in_network(&["sh", "-c", script]));
        run("--net=default");
        let listed = output(&lab, &["iptables-nft", "-S", "DOCKER-USER"]);
        assert_eq!(listed.lines().filter(|line| line.contains("-i rkt0")).count(), 1, "{listed}");
        assert_eq!(listed.lines().filter(|line| line.contains("-o rkt0")).count(), 1, "{listed}");
    }
}

#[test]
fn what_others_have_is_not_taken() {
    let Some(lab) = Lab::with_network("what_others_have_is_not_taken") else { return };
    let run = ["run", "--insecure-options=image", "--net=default", IMAGE, "--exec=id"];
    assert!(lab.in_network(&["ip", "link", "add", "rkt0", "type", "veth", "peer", "name", "peer0"]));
    lab.fails(&run, "interface rkt0 is no bridge");
    assert!(lab.in_network(&["ip", "link", "set", "rkt0", "name", "other"]));
    assert!(lab.in_network(&["ip", "address", "add", "172.16.28.1/24", "dev", "other"]));
    lab.fails(&run, "other has the address 172.16.28.1/24 of the network default");
    assert!(lab.in_network(&["ip", "link", "delete", "other"]));
    lab.ok(&run);
    // What another program changes of the bridge is restored.
    assert!(lab.in_network(&["ip", "link", "set", "rkt0", "down", "mtu", "1400"]));
    assert!(lab.in_network(&["ip", "address", "flush", "dev", "rkt0"]));
    lab.ok(&run);
    let bridge = output(&lab, &["ip", "address", "show", "dev", "rkt0"]);
    assert!(bridge.contains("mtu 1500") && bridge.contains("inet 172.16.28.1/24"), "{bridge}");
}
