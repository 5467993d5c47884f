//! What is asked of a cluster that exists already: what can be had is changed, and the rest is said to be ignored.
//!
//! A machine changes while it is off only; nothing here stops one.

use crate::cluster::{BackendKind, Cluster, Datasource, Forward};
use crate::process::Process;

/// What somebody asked for expressly; nothing is taken from defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    pub nodes: Option<usize>,
    pub name_prefix: Option<String>,
    pub memory_mib: Option<u32>,
    pub cpus: Option<u32>,
    pub datasource: Option<Datasource>,
    /// Of the first node, as in a wish.
    pub forwards: Option<Vec<Forward>>,
}

impl Cluster {
    /// Changes the machines that are off, and tells what is ignored, each with what to do about it.
    pub fn ask(&mut self, asked: &Asked) -> Vec<String> {
        let mut ignored = meaningless(self.backend, asked);
        let has = self.nodes.len();
        if let Some(nodes) = asked.nodes.filter(|nodes| *nodes < has) {
            ignored.push(format!(
                "{nodes} machines were asked for and {has} are there: no verb removes a single one (keelson destroy \
                 removes all)"
            ));
        }
        ignored.extend(self.ask_names(asked));
        if self.backend == BackendKind::Qemu {
            ignored.extend(self.ask_sizes(asked));
            ignored.extend(self.ask_datasource(asked));
        }
        ignored.extend(self.ask_forwards(asked));
        ignored
    }

    fn ask_names(&self, asked: &Asked) -> Option<String> {
        let prefix = asked.name_prefix.as_ref()?;
        let others = || self.nodes.iter().map(|node| node.name.as_str());
        let keep: Vec<&str> = others().filter(|name| !of_prefix(name, prefix)).collect();
        (!keep.is_empty())
            .then(|| format!("{} keep their names: only new machines begin with {prefix}", keep.join(", ")))
    }

    fn ask_sizes(&mut self, asked: &Asked) -> Vec<String> {
        let memory = asked.memory_mib.map(|memory| (memory, format!("{memory} MiB of memory")));
        let cpus = asked.cpus.map(|cpus| (cpus, format!("{cpus} processors")));
        let mut ignored = Vec::new();
        for (number, wanted) in [memory, cpus].into_iter().enumerate() {
            let Some((value, wanted)) = wanted else { continue };
            ignored.extend(self.change_stopped(&wanted, |node, _| {
                let field = if number == 0 { &mut node.memory_mib } else { &mut node.cpus };
                (*field != value).then_some(Change::Number(field, value))
            }));
        }
        ignored
    }

    fn ask_datasource(&mut self, asked: &Asked) -> Option<String> {
        let wanted = asked.datasource.filter(|wanted| *wanted != self.datasource)?;
        if self.nodes.iter().any(|node| node.process.is_some_and(Process::alive)) {
            let how = "keelson down, then keelson up with the same flags";
            return Some(format!(
                "machines get their user-data by {} while any runs ({how})",
                self.datasource
            ));
        }
        self.datasource = wanted;
        None
    }

    fn ask_forwards(&mut self, asked: &Asked) -> Option<String> {
        let wanted = asked.forwards.as_ref()?;
        self.change_stopped("the forwarded ports", |node, index| {
            let forwards = Forward::of_node(wanted, index);
            (node.forwards != forwards).then_some(Change::Forwards(&mut node.forwards, forwards))
        })
    }

    /// Makes the changes of the machines that are off; names those that run and would have one.
    fn change_stopped<'a>(
        &'a mut self,
        wanted: &str,
        change: impl Fn(&'a mut crate::cluster::Node, usize) -> Option<Change<'a>>,
    ) -> Option<String> {
        let mut running = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let (name, runs) = (node.name.clone(), node.process.is_some_and(Process::alive));
            match change(node, index) {
                Some(_) if runs => running.push(name),
                Some(change) => change.make(),
                None => {}
            }
        }
        (!running.is_empty()).then(|| {
            let names = running.join(", ");
            format!("{names} cannot have {wanted} while running (keelson down, then keelson up with the same flags)")
        })
    }
}

/// A field of a node, and what it shall be.
enum Change<'a> {
    Number(&'a mut u32, u32),
    Forwards(&'a mut Vec<Forward>, Vec<Forward>),
}

impl Change<'_> {
    fn make(self) {
        match self {
            Self::Number(field, value) => *field = value,
            Self::Forwards(field, value) => *field = value,
        }
    }
}

/// What containers have not, whether they are new or not.
fn meaningless(backend: BackendKind, asked: &Asked) -> Vec<String> {
    if backend == BackendKind::Qemu {
        return Vec::new();
    }
    let asked = [
        ("memory of their own", asked.memory_mib.is_some()),
        ("processors of their own", asked.cpus.is_some()),
        ("a firmware that hands over user-data", asked.datasource == Some(Datasource::FwCfg)),
    ];
    let asked = asked.into_iter().filter(|(_, asked)| *asked);
    asked
        .map(|(what, _)| format!("containers have no {} (--on qemu)", what.trim_start_matches("a ")))
        .collect()
}

fn of_prefix(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|rest| rest.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Wish, tests::image};

    /// Two machines, of which the second runs.
    fn cluster(backend: BackendKind) -> Cluster {
        let mut cluster = Cluster::new("a", &Wish { nodes: 2, backend, ..Wish::default() }, image());
        cluster.nodes[1].process = Process::of(std::process::id().cast_signed());
        cluster
    }

    #[test]
    fn each_change_is_made_where_a_machine_is_off_and_named_where_it_runs() {
        let check = |asked: Asked, expect: &[&str]| {
            let mut cluster = cluster(BackendKind::Qemu);
            let ignored = cluster.ask(&asked);
            assert_eq!(ignored.len(), expect.len(), "{asked:?}: {ignored:?}");
            for (said, expect) in ignored.iter().zip(expect) {
                assert!(said.contains(expect), "{said}");
            }
            cluster
        };
        let before = cluster(BackendKind::Qemu);
        assert_eq!(check(Asked::default(), &[]), before);
        let same = Asked { nodes: Some(2), memory_mib: Some(1024), cpus: Some(2), ..Asked::default() };
        assert_eq!(check(same, &[]), before);
        let after =
            check(Asked { memory_mib: Some(2048), ..Asked::default() }, &["core-02 cannot have 2048 MiB"]);
        assert_eq!((after.nodes[0].memory_mib, after.nodes[1].memory_mib), (2048, 1024));
        let after = check(Asked { cpus: Some(1), ..Asked::default() }, &["core-02 cannot have 1 processors"]);
        assert_eq!((after.nodes[0].cpus, after.nodes[1].cpus), (1, 2));
        let ports = Some(vec![Forward { host: 8080, guest: 80 }]);
        let after =
            check(Asked { forwards: ports, ..Asked::default() }, &["core-02 cannot have the forwarded"]);
        assert_eq!((after.nodes[0].forwards[0].host, after.nodes[1].forwards.len()), (8080, 0));
        let fw_cfg = Asked { datasource: Some(Datasource::FwCfg), ..Asked::default() };
        assert_eq!(check(fw_cfg.clone(), &["by config-drive while any runs (keelson down"]), before);
        check(Asked { nodes: Some(1), ..Asked::default() }, &["1 machines were asked for and 2 are there"]);
        check(Asked { name_prefix: Some("core".into()), ..Asked::default() }, &[]);
        check(
            Asked { name_prefix: Some("co".into()), ..Asked::default() },
            &["core-01, core-02 keep their names"],
        );

        let mut stopped = before;
        stopped.nodes[1].process = None;
        assert!(stopped.ask(&fw_cfg).is_empty());
        assert_eq!(stopped.datasource, Datasource::FwCfg);
    }

    #[test]
    fn containers_say_what_they_have_not() {
        let asked = Asked { memory_mib: Some(2048), cpus: Some(1), ..Asked::default() };
        let ignored = cluster(BackendKind::Nspawn).ask(&asked);
        assert_eq!(
            ignored,
            [
                "containers have no memory of their own (--on qemu)",
                "containers have no processors of their own (--on qemu)"
            ]
        );
    }
}
