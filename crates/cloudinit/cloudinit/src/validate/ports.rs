//! Finds services that listen on the same address.

use crate::config::{CloudConfig, ServiceOptions, Text};
use crate::finding::{Finding, Severity};
use crate::yaml::Location;

/// Variables with listen addresses, by service. If the second variable of a pair is set, the first is only
/// advertised.
const LISTENERS: [(&str, &str, Option<&str>); 4] = [
    ("etcd", "ETCD_ADDR", Some("ETCD_BIND_ADDR")),
    ("etcd", "ETCD_PEER_ADDR", Some("ETCD_PEER_BIND_ADDR")),
    ("etcd2", "ETCD_LISTEN_CLIENT_URLS", None),
    ("etcd2", "ETCD_LISTEN_PEER_URLS", None),
];
/// Only one of these services runs on a machine.
const EXCLUSIVE_SERVICES: [&str; 2] = ["etcd", "etcd2"];
const WILDCARD_HOSTS: [&str; 4] = ["", "0.0.0.0", "::", "*"];
/// Limits the quadratic comparison.
const MAX_LISTENERS: usize = 200;

struct Listener<'a> {
    service: &'a str,
    datagrams: bool,
    host: &'a str,
    port: u16,
    location: Location,
}

pub(super) fn check(config: &CloudConfig, findings: &mut Vec<Finding>) {
    let mut listeners = Vec::new();
    for options in &config.services {
        service(options, &mut listeners);
    }
    for unit in &config.units {
        let Some(name) = unit.name.as_ref().filter(|name| name.text.ends_with(".socket")) else { continue };
        for content in unit.content.iter().chain(unit.drop_ins.iter().filter_map(|one| one.content.as_ref()))
        {
            socket(&name.text, content, &mut listeners);
        }
    }
    listeners.truncate(MAX_LISTENERS);
    listeners.sort_by_key(|listener| listener.location);
    for (at, listener) in listeners.iter().enumerate() {
        if let Some(first) = listeners[..at].iter().find(|first| first.collides(listener)) {
            let (port, line) = (listener.port, first.location.line);
            let message = format!("port {port} is used twice (first at line {line})");
            findings.push(Finding::new(Severity::Warning, listener.location, message));
        }
    }
}

impl Listener<'_> {
    fn collides(&self, other: &Self) -> bool {
        let either = self.service != other.service
            && EXCLUSIVE_SERVICES.contains(&self.service)
            && EXCLUSIVE_SERVICES.contains(&other.service);
        let everywhere = WILDCARD_HOSTS.contains(&self.host) || WILDCARD_HOSTS.contains(&other.host);
        !either
            && (self.port, self.datagrams) == (other.port, other.datagrams)
            && (everywhere || self.host == other.host)
    }
}

fn service<'a>(options: &'a ServiceOptions, listeners: &mut Vec<Listener<'a>>) {
    let value = |name: &str| options.variables.iter().find(|variable| variable.name == name);
    for (service, message, bound) in LISTENERS {
        if service != options.service.block {
            continue;
        }
        let Some(variable) = bound.and_then(value).or_else(|| value(message)) else { continue };
        let text: &Text = &variable.value;
        for url in text.text.split(',') {
            let address = url.split_once("://").map_or(url, |(_, address)| address);
            let address = address.trim().trim_end_matches('/');
            if let Some((host, port)) = host_and_port(address) {
                listeners.push(Listener { service, datagrams: false, host, port, location: text.location });
            }
        }
    }
}

fn socket<'a>(name: &'a str, content: &'a Text, listeners: &mut Vec<Listener<'a>>) {
    for line in content.text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let datagrams = match key.trim() {
            "ListenStream" => false,
            "ListenDatagram" => true,
            _ => continue,
        };
        let value = value.trim();
        let address = value.parse().ok().map(|port| ("", port)).or_else(|| host_and_port(value));
        if let Some((host, port)) = address {
            listeners.push(Listener { service: name, datagrams, host, port, location: content.location });
        }
    }
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    port.parse().ok().filter(|port| *port != 0).map(|port| (host, port))
}
