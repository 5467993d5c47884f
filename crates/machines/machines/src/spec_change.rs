//! Changes to an existing cluster: applies what is possible and reports the rest as ignored.
//!
//! Only stopped machines change; nothing here stops one.

use crate::cluster::{BackendKind, Cluster, Datasource, Forward};
use crate::process::Process;

/// The values that the user set explicitly. Defaults do not count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecChange {
    pub nodes: Option<usize>,
    pub name_prefix: Option<String>,
    pub memory_mib: Option<u32>,
    pub cpus: Option<u32>,
    pub datasource: Option<Datasource>,
    /// Ports of the first node, as in [`ClusterSpec`](crate::cluster::ClusterSpec).
    pub forwards: Option<Vec<Forward>>,
}

impl Cluster {
    /// Changes the stopped machines. Returns a message for each value that is ignored, with a remedy.
    pub fn apply_change(&mut self, change: &SpecChange) -> Vec<String> {
        let mut ignored = unsupported_in_containers(self.backend, change);
        let has = self.nodes.len();
        if let Some(nodes) = change.nodes.filter(|nodes| *nodes < has) {
            ignored.push(format!(
                "cannot reduce {has} machines to {nodes}: single machines cannot be removed (keelson destroy removes all)"
            ));
        }
        ignored.extend(self.check_names(change));
        if self.backend == BackendKind::Qemu {
            ignored.extend(self.change_sizes(change));
            ignored.extend(self.change_datasource(change));
        }
        ignored.extend(self.change_forwards(change));
        ignored
    }

    fn check_names(&self, change: &SpecChange) -> Option<String> {
        let prefix = change.name_prefix.as_ref()?;
        let others = || self.nodes.iter().map(|node| node.name.as_str());
        let keep: Vec<&str> = others().filter(|name| !has_name_prefix(name, prefix)).collect();
        (!keep.is_empty()).then(|| {
            format!("{} keep their names: the prefix {prefix} applies to new machines only", keep.join(", "))
        })
    }

    fn change_sizes(&mut self, change: &SpecChange) -> Vec<String> {
        let memory = change.memory_mib.map(|memory| (memory, format!("{memory} MiB of memory")));
        let cpus = change.cpus.map(|cpus| (cpus, format!("{cpus} processors")));
        let mut ignored = Vec::new();
        for (number, wanted) in [memory, cpus].into_iter().enumerate() {
            let Some((value, wanted)) = wanted else { continue };
            ignored.extend(self.change_stopped(&wanted, |node, _| {
                let field = if number == 0 { &mut node.memory_mib } else { &mut node.cpus };
                (*field != value).then_some(FieldChange::Number(field, value))
            }));
        }
        ignored
    }

    fn change_datasource(&mut self, change: &SpecChange) -> Option<String> {
        let wanted = change.datasource.filter(|wanted| *wanted != self.datasource)?;
        if self.nodes.iter().any(|node| node.process.is_some_and(Process::alive)) {
            let remedy = "keelson down, then keelson up with the same flags";
            return Some(format!(
                "cannot change the datasource from {} while machines are running ({remedy})",
                self.datasource
            ));
        }
        self.datasource = wanted;
        None
    }

    fn change_forwards(&mut self, change: &SpecChange) -> Option<String> {
        let wanted = change.forwards.as_ref()?;
        self.change_stopped("the forwarded ports", |node, index| {
            let forwards = Forward::of_node(wanted, index);
            (node.forwards != forwards).then_some(FieldChange::Forwards(&mut node.forwards, forwards))
        })
    }

    /// Applies `change` to stopped machines; names the running ones that it would affect.
    fn change_stopped<'a>(
        &'a mut self,
        wanted: &str,
        change: impl Fn(&'a mut crate::cluster::Node, usize) -> Option<FieldChange<'a>>,
    ) -> Option<String> {
        let mut running = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let (name, runs) = (node.name.clone(), node.process.is_some_and(Process::alive));
            match change(node, index) {
                Some(_) if runs => running.push(name),
                Some(change) => change.apply(),
                None => {}
            }
        }
        (!running.is_empty()).then(|| {
            let names = running.join(", ");
            format!("cannot set {wanted} on {names} while running (keelson down, then keelson up with the same flags)")
        })
    }
}

enum FieldChange<'a> {
    Number(&'a mut u32, u32),
    Forwards(&'a mut Vec<Forward>, Vec<Forward>),
}

impl FieldChange<'_> {
    fn apply(self) {
        match self {
            Self::Number(field, value) => *field = value,
            Self::Forwards(field, value) => *field = value,
        }
    }
}

/// Settings that containers do not support.
fn unsupported_in_containers(backend: BackendKind, change: &SpecChange) -> Vec<String> {
    if backend == BackendKind::Qemu {
        return Vec::new();
    }
    let unsupported = [
        ("a memory size", change.memory_mib.is_some()),
        ("a number of processors", change.cpus.is_some()),
        ("fw-cfg", change.datasource == Some(Datasource::FwCfg)),
    ];
    let unsupported = unsupported.into_iter().filter(|(_, requested)| *requested);
    unsupported.map(|(what, _)| format!("containers do not support {what} (use --on qemu)")).collect()
}

fn has_name_prefix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{ClusterSpec, tests::image};

    /// Two machines; the second is running.
    fn cluster(backend: BackendKind) -> Cluster {
        let mut cluster =
            Cluster::new("a", &ClusterSpec { nodes: 2, backend, ..ClusterSpec::default() }, image());
        cluster.nodes[1].process = Process::of(std::process::id().cast_signed());
        cluster
    }

    #[test]
    fn changes_apply_to_stopped_machines_and_report_running_ones() {
        let check = |change: SpecChange, expect: &[&str]| {
            let mut cluster = cluster(BackendKind::Qemu);
            let ignored = cluster.apply_change(&change);
            assert_eq!(ignored.len(), expect.len(), "{change:?}: {ignored:?}");
            for (message, expect) in ignored.iter().zip(expect) {
                assert!(message.contains(expect), "{message}");
            }
            cluster
        };
        let before = cluster(BackendKind::Qemu);
        assert_eq!(check(SpecChange::default(), &[]), before);
        let same =
            SpecChange { nodes: Some(2), memory_mib: Some(1024), cpus: Some(2), ..SpecChange::default() };
        assert_eq!(check(same, &[]), before);
        let after = check(
            SpecChange { memory_mib: Some(2048), ..SpecChange::default() },
            &["cannot set 2048 MiB of memory on core-02 while running"],
        );
        assert_eq!((after.nodes[0].memory_mib, after.nodes[1].memory_mib), (2048, 1024));
        let after = check(
            SpecChange { cpus: Some(1), ..SpecChange::default() },
            &["cannot set 1 processors on core-02"],
        );
        assert_eq!((after.nodes[0].cpus, after.nodes[1].cpus), (1, 2));
        let ports = Some(vec![Forward { host: 8080, guest: 80 }]);
        let after = check(
            SpecChange { forwards: ports, ..SpecChange::default() },
            &["cannot set the forwarded ports on core-02"],
        );
        assert_eq!((after.nodes[0].forwards[0].host, after.nodes[1].forwards.len()), (8080, 0));
        let fw_cfg = SpecChange { datasource: Some(Datasource::FwCfg), ..SpecChange::default() };
        assert_eq!(
            check(fw_cfg.clone(), &["from config-drive while machines are running (keelson down"]),
            before
        );
        check(SpecChange { nodes: Some(1), ..SpecChange::default() }, &["cannot reduce 2 machines to 1"]);
        check(SpecChange { name_prefix: Some("core".into()), ..SpecChange::default() }, &[]);
        check(
            SpecChange { name_prefix: Some("co".into()), ..SpecChange::default() },
            &["core-01, core-02 keep their names"],
        );

        let mut stopped = before;
        stopped.nodes[1].process = None;
        assert!(stopped.apply_change(&fw_cfg).is_empty());
        assert_eq!(stopped.datasource, Datasource::FwCfg);
    }

    #[test]
    fn unsupported_container_settings_are_reported() {
        let change = SpecChange { memory_mib: Some(2048), cpus: Some(1), ..SpecChange::default() };
        let ignored = cluster(BackendKind::Nspawn).apply_change(&change);
        assert_eq!(
            ignored,
            [
                "containers do not support a memory size (use --on qemu)",
                "containers do not support a number of processors (use --on qemu)"
            ]
        );
    }
}
