//! The API as used by fleet-client.

use std::sync::Arc;

use fleet_api::additions::{Cordon, PlanRequest};
use fleet_api::{Query, Unit};
use fleet_client::{Client, Direct, StateFilter};
use fleet_core::JobState;
use unit_file::UnitFile;

use crate::cluster::{Cluster, ME, OTHER, SLEEP};
use crate::server::{Server, TIMEOUT};

pub fn client(server: &Server) -> Client {
    let endpoint = format!("unix://{}", server.socket().display()).parse().unwrap();
    Client::new(endpoint, Arc::new(Direct), None, TIMEOUT, None)
}

fn names(units: &[Unit]) -> Vec<&str> {
    units.iter().map(|unit| unit.name.as_str()).collect()
}

#[tokio::test]
async fn units_are_created_and_destroyed() {
    let server = Server::with_page_size(Cluster::empty(), 2);
    let client = client(&server);
    let file = UnitFile::from_text(SLEEP).unwrap();
    let all = ["a.service", "b@1.service", "c.target", "d.service", "e.service"];
    for name in all {
        client.set_unit(&Unit::new(name, "inactive", Some(&file))).await.unwrap();
    }
    assert_eq!(names(&client.units().await.unwrap()), all);
    let some = client.units_named(&["e.service", "nope.service", "b@1.service"]).await.unwrap();
    assert_eq!(names(&some), ["b@1.service", "e.service"]);

    client.set_unit(&Unit::new("d.service", "launched", None)).await.unwrap();
    let unit = client.unit("d.service").await.unwrap().unwrap();
    assert_eq!((unit.desired_state.as_str(), unit.current_state.as_str()), ("launched", "launched"));
    assert_eq!(unit.machine_id, ME);
    assert_eq!(unit.file().normalised(), SLEEP);
    let states = client.states(&StateFilter { unit: "d.service", machine: ME }).await.unwrap();
    assert_eq!(states.len(), 1);
    assert_eq!(client.states(&StateFilter { unit: "", machine: OTHER }).await.unwrap(), []);

    client.destroy_unit("d.service").await.unwrap();
    assert_eq!(client.unit("d.service").await.unwrap(), None);
    let again = client.destroy_unit("d.service").await.unwrap_err();
    assert_eq!(again.to_string(), "googleapi: Error 404: unit does not exist");
}

#[tokio::test]
async fn machines_and_cordons() {
    let server = Server::start(Cluster::with_units());
    let client = client(&server);
    client.set_cordon(OTHER, Cordon::Draining).await.unwrap();
    let machines = client.machines().await.unwrap();
    let cordons: Vec<_> = machines.iter().map(|machine| machine.cordon).collect();
    assert_eq!(cordons, [Cordon::Open, Cordon::Draining]);
    client.set_cordon(OTHER, Cordon::Open).await.unwrap();
    assert_eq!(client.machines().await.unwrap()[1].cordon, Cordon::Open);
    let unknown = client.set_cordon("nope", Cordon::Open).await.unwrap_err();
    assert_eq!(unknown.to_string(), "googleapi: Error 404: machine does not exist");
}

#[tokio::test]
async fn explanations_and_plans() {
    let server = Server::start(Cluster::with_units());
    let client = client(&server);
    let explained = client.explain("stuck.service").await.unwrap();
    assert_eq!((explained.machine_id.as_str(), explained.machines.len()), ("", 2));
    assert_eq!(client.explain("there.service").await.unwrap().machine_id, OTHER);

    let file = UnitFile::from_text(SLEEP).unwrap();
    let units = vec![Unit::new("new.service", "launched", Some(&file))];
    let plan = client.plan(&PlanRequest { units }).await.unwrap();
    let actions: Vec<_> = plan.steps.iter().map(|step| (step.action.as_str(), step.to.as_str())).collect();
    assert_eq!(actions, [("create", ""), ("schedule", ME)]);
    assert_eq!(client.unit("new.service").await.unwrap(), None, "a plan changes nothing");

    assert_eq!(client.rebalance(true).await.unwrap().steps, []);
    assert_eq!(client.rebalance(false).await.unwrap().steps[0].name, "begun.service");
}

/// Requests for other machines fail; fleetctl connects to these over SSH.
#[tokio::test]
async fn requests_for_other_machines() {
    let server = Server::start(Cluster::with_units());
    let client = client(&server);
    for (name, machine) in
        [("there.service", ""), ("there.service", OTHER), ("glob.service", OTHER), ("hello.service", OTHER)]
    {
        let status = client.status(name, machine).await.unwrap_err();
        assert!(status.is_unknown_path(), "{name} {machine}: {status}");
        let journal = client.journal(name, &Query::default().with_some("machineID", machine)).await;
        assert!(journal.err().unwrap().is_unknown_path(), "{name} {machine}");
    }
    let check = async |name: &str, machine: &str, expect: &str| {
        let refused = client.status(name, machine).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("googleapi: Error {expect}"), "{name} {machine}");
    };
    check("nope.service", "", "404: unit does not exist").await;
    check("nope.service", OTHER, "404: unit does not exist").await;
    check("stuck.service", "", "409: unit is not loaded on any machine").await;
    check("web@.service", "", "409: unit is not loaded on any machine").await;
    check("there.service", ME, "409: unit is not loaded on this machine").await;
}

#[tokio::test]
async fn launched_unit_can_be_launched_again() {
    let server = Server::start(Cluster::empty());
    server.cluster.store().create("a.service", SLEEP, JobState::Launched);
    let client = client(&server);
    // The backend receives the request and may restart the unit.
    client.set_unit(&Unit::new("a.service", "launched", None)).await.unwrap();
    server.cluster.store().failure = Some(fleet_http::Failure::Missing);
    let asked = client.set_unit(&Unit::new("a.service", "launched", None)).await.unwrap_err();
    assert_eq!(asked.to_string(), "googleapi: Error 404: unit does not exist");
}
