//! Azure's fabric: the goal state of a machine, and the report that it is ready. Without a report, Azure takes the
//! provisioning for failed.

use roxmltree::Node;

use super::{Malformed, text, xml};

/// Path and query, relative to the fabric's address.
pub const GOAL_STATE: &str = "machine/?comp=goalstate";
/// See [`GOAL_STATE`].
pub const HEALTH: &str = "machine/?comp=health";
/// Headers of each request: the version of the protocol, and a name for logs of the platform.
pub const HEADERS: [(&str, &str); 2] =
    [("x-ms-version", "2012-11-30"), ("x-ms-agent-name", "coreos-cloudinit")];
pub const CONTENT_TYPE: (&str, &str) = ("Content-Type", "text/xml; charset=utf-8");

/// What identifies this machine in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoalState {
    incarnation: String,
    container: String,
    instance: String,
}

impl GoalState {
    /// # Errors
    /// The document is not valid XML, or lacks a part.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let document = xml::parse(text(bytes)?)?;
        let root = document.root_element();
        let container = xml::child(root, "Container");
        let instance = container
            .and_then(|container| xml::child(container, "RoleInstanceList"))
            .and_then(|list| xml::child(list, "RoleInstance"));
        Ok(Self {
            incarnation: required(Some(root), "Incarnation")?,
            container: required(container, "ContainerId")?,
            instance: required(instance, "InstanceId")?,
        })
    }

    /// The body of the report.
    pub fn ready(&self) -> String {
        let [incarnation, container, instance] =
            [&self.incarnation, &self.container, &self.instance].map(|text| xml::escape(text));
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
             <Health xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\
             <GoalStateIncarnation>{incarnation}</GoalStateIncarnation>\
             <Container><ContainerId>{container}</ContainerId><RoleInstanceList><Role>\
             <InstanceId>{instance}</InstanceId><Health><State>Ready</State></Health>\
             </Role></RoleInstanceList></Container></Health>"
        )
    }
}

fn required(parent: Option<Node<'_, '_>>, name: &'static str) -> Result<String, Malformed> {
    let content = parent.and_then(|parent| xml::child(parent, name)).and_then(xml::content);
    content.map(str::to_owned).ok_or(Malformed::Missing(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOAL: &str = "<?xml version='1.0' encoding='utf-8'?><GoalState><Version>2012-11-30</Version>\
        <Incarnation>2</Incarnation><Machine><ExpectedState>Started</ExpectedState></Machine><Container>\
        <ContainerId>c-1</ContainerId><RoleInstanceList><RoleInstance><InstanceId>i.first&amp;&lt;</InstanceId>\
        <State>Started</State></RoleInstance></RoleInstanceList></Container></GoalState>";

    #[test]
    fn the_report_names_what_the_goal_state_names() {
        let report = GoalState::read(GOAL.as_bytes()).unwrap().ready();
        let document = xml::parse(&report).unwrap();
        let of = |name: &str| xml::first(&document, name).and_then(xml::content);
        assert_eq!(of("GoalStateIncarnation"), Some("2"));
        assert_eq!((of("ContainerId"), of("InstanceId")), (Some("c-1"), Some("i.first&<")));
        assert_eq!(of("State"), Some("Ready"));
    }

    #[test]
    fn an_incomplete_goal_state_is_refused() {
        for (from, to, expect) in [
            ("Incarnation>", "X>", "it has no Incarnation"),
            ("<ContainerId>c-1</ContainerId>", "<ContainerId> </ContainerId>", "it has no ContainerId"),
            ("RoleInstanceList>", "List>", "it has no InstanceId"),
            ("</GoalState>", "", "it is not well-formed XML (line 1, column 330)"),
        ] {
            let error = GoalState::read(GOAL.replace(from, to).as_bytes()).unwrap_err().to_string();
            let is_as_expected =
                error == expect || expect.contains("column") && error.contains("XML (line 1");
            assert!(is_as_expected, "{error}");
        }
    }
}
