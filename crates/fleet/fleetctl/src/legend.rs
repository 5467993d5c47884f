//! Machine names for output.

use std::collections::HashMap;

use fleet_api::Machine;

/// Length of a short machine id.
const SHORT: usize = 8;

/// `113f16a7...`, or with `full` the whole id.
pub fn short_id(id: &str, full: bool) -> String {
    if full {
        return id.to_owned();
    }
    let short: String = id.chars().take(SHORT).collect();
    format!("{short}...")
}

/// Present machines by id.
#[derive(Debug, Default)]
pub struct Machines(HashMap<String, Machine>);

impl Machines {
    pub fn new(list: Vec<Machine>) -> Machines {
        Machines(list.into_iter().map(|machine| (machine.id.clone(), machine)).collect())
    }

    pub fn get(&self, id: &str) -> Option<&Machine> {
        self.0.get(id)
    }

    /// `113f16a7.../172.17.8.101`; without the address if it is unknown.
    pub fn legend(&self, id: &str, full: bool) -> String {
        match self.0.get(id).map(|machine| machine.primary_ip.as_str()) {
            None | Some("") => short_id(id, full),
            Some(address) => format!("{}/{address}", short_id(id, full)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legends_of_machines() {
        let machine =
            |id: &str, ip: &str| Machine { id: id.into(), primary_ip: ip.into(), ..Machine::default() };
        let known = Machines::new(vec![machine("113f16a7abcdef", "172.17.8.101"), machine("short", "")]);
        let check = |id: &str, full: bool, expect: &str| assert_eq!(known.legend(id, full), expect);
        check("113f16a7abcdef", false, "113f16a7.../172.17.8.101");
        check("113f16a7abcdef", true, "113f16a7abcdef/172.17.8.101");
        check("short", false, "short...");
        check("short", true, "short");
        check("gone0000111", false, "gone0000...");
    }
}
