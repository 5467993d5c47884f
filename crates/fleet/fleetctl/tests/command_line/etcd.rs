//! `--driver=etcd` against an in-memory store: keys that are read, and the exact bytes that are written.

use std::time::{Duration, Instant};

use memory_etcd::MemoryEtcd;

use crate::program::Program;

const PREFIX: &str = "/_coreos.com/fleet";
const MACHINE_ID: &str = "113f16a7e3c54b1da5d60f4f1e2d3c4b";
const HELLO_HASH: &str = "e55c0aeb44ba0b68004ceb8a200e685194448b45";

struct Fixture {
    etcd: MemoryEtcd,
    program: Program,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn start(address: &str) -> Fixture {
        let etcd = MemoryEtcd::start(address);
        let folder = tempfile::tempdir().unwrap();
        let program = Program::in_folder(folder.path());
        std::fs::write(
            folder.path().join("hello.service"),
            "[Unit]\nDescription=Hello World\n\n[Service]\n\
             ExecStart=/bin/bash -c \"while true; do echo \\\"Hello, world\\\"; sleep 1; done\"\n",
        )
        .unwrap();
        let fixture = Fixture { etcd, program, folder };
        fixture.set(
            &format!("machines/{MACHINE_ID}/object"),
            &format!("{{\"ID\":\"{MACHINE_ID}\",\"PublicIP\":\"172.17.8.101\",\"Metadata\":{{\"az\":\"x\"}},\"Version\":\"1.0.0\"}}"),
        );
        fixture
    }

    fn set(&self, key: &str, value: &str) {
        self.etcd.set(&format!("{PREFIX}/{key}"), value);
    }

    fn get(&self, key: &str) -> Option<String> {
        self.etcd.get(&format!("{PREFIX}/{key}"))
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.program.run(&[&["--driver=etcd", "--endpoint", self.etcd.url.as_str()], arguments].concat(), "")
    }

    /// Writes the keys of an engine and an agent that launch hello.service.
    fn launch(&self) {
        self.set("job/hello.service/target", MACHINE_ID);
        self.set("job/hello.service/job-state", MACHINE_ID);
        let state = format!(
            "{{\"loadState\":\"loaded\",\"activeState\":\"active\",\"subState\":\"running\",\"machineState\":\
             {{\"ID\":\"{MACHINE_ID}\"}},\"unitHash\":\"{HELLO_HASH}\"}}"
        );
        self.set(&format!("states/hello.service/{MACHINE_ID}"), &state);
    }
}

#[test]
fn units_are_stored_as_keys() {
    let fixture = Fixture::start("127.0.0.1:0");
    assert_eq!(
        fixture.run(&["list-machines"]),
        "out| MACHINE<TAB><TAB>IP<TAB><TAB>METADATA\nout| 113f16a7...<TAB>172.17.8.101<TAB>az=x\n"
    );
    assert_eq!(fixture.run(&["submit", "hello"]), "");
    // The exact bytes of the original.
    assert_eq!(
        fixture.get("job/hello.service/object").unwrap(),
        "{\"Name\":\"hello.service\",\"UnitHash\":[229,92,10,235,68,186,11,104,0,76,235,138,32,14,104,81,148,68,139,69]}"
    );
    assert_eq!(fixture.get("job/hello.service/target-state").unwrap(), "inactive");
    assert!(
        fixture
            .get(&format!("unit/{HELLO_HASH}"))
            .unwrap()
            .starts_with("{\"Raw\":\"[Unit]\\nDescription=Hello World\\n")
    );
    assert_eq!(
        fixture.run(&["list-unit-files", "--no-legend"]),
        "out| hello.service<TAB>e55c0ae<TAB>inactive<TAB>inactive<TAB>-\n"
    );
    let child = fixture.program.start(&["--driver=etcd", "--endpoint", &fixture.etcd.url, "start", "hello"]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while fixture.get("job/hello.service/target-state").unwrap() != "launched" {
        assert!(Instant::now() < deadline, "it asks for nothing");
        std::thread::sleep(Duration::from_millis(5));
    }
    fixture.launch();
    let output = crate::program::transcript(&child.wait_with_output().unwrap());
    assert_eq!(output, "out| Unit hello.service launched on 113f16a7.../172.17.8.101\n");
    assert_eq!(
        fixture.run(&["list-units", "--no-legend"]),
        "out| hello.service<TAB>113f16a7.../172.17.8.101<TAB>active<TAB>running\n"
    );
    assert_eq!(fixture.run(&["destroy", "--no-block", "hello", "nope"]), "out| Destroyed hello.service\n");
    assert_eq!(fixture.get("job/hello.service/object"), None);
    // The contents are kept for other units with the same hash.
    assert!(fixture.get(&format!("unit/{HELLO_HASH}")).is_some());
    assert_eq!(fixture.run(&["destroy", "hello"]), "err| Units not found in registry\n");
}

#[test]
fn requests_without_a_fleetd() {
    let fixture = Fixture::start("127.0.0.1:0");
    std::fs::write(fixture.folder.path().join("web@.service"), "[Service]\nExecStart=/bin/sleep 1\n")
        .unwrap();
    fixture.run(&["submit", "web@"]);
    assert_eq!(
        fixture.run(&["start", "web@"]),
        "err| Error loading units: cannot activate template \"web@.service\"\nexit 1\n"
    );
    let plan = fixture.run(&["plan", "hello"]);
    assert!(plan.contains("create<TAB>") && plan.contains("schedule<TAB>hello.service<TAB>-"), "{plan}");
    assert_eq!(fixture.get("job/hello.service/object"), None);
    assert_eq!(fixture.run(&["cordon", "113f"]), "out| Cordoned machine 113f16a7...\n");
    assert_eq!(fixture.get(&format!("machines/{MACHINE_ID}/cordon")).unwrap(), "cordoned");
    fixture.run(&["start", "--no-block", "hello"]);
    let explanation = fixture.run(&["explain", "hello"]);
    assert!(
        explanation.contains("hint: Machine(113f16a7e3c54b1da5d60f4f1e2d3c4b): uncordon the machine"),
        "{explanation}"
    );
    assert_eq!(fixture.run(&["uncordon", "113f"]), "out| Uncordoned machine 113f16a7...\n");
    assert_eq!(fixture.get(&format!("machines/{MACHINE_ID}/cordon")), None);
    assert_eq!(
        fixture.run(&["rebalance"]),
        "err| Error: rebalance: this needs a fleetd, use --driver=API\nexit 1\n"
    );
    assert_eq!(
        fixture.run(&["--tunnel=127.0.0.1:1", "list-units"]),
        "err| Unable to initialize client: a tunnel leads to the API of a fleetd, not to etcd: use --driver=API\nexit 1\n"
    );
}

#[test]
fn empty_and_unreachable_stores() {
    let fixture = Fixture::start("127.0.0.1:0");
    fixture.etcd.delete("/_coreos.com");
    assert_eq!(fixture.run(&["list-units", "--no-legend"]), "");
    let output = fixture.program.run(&["--driver=etcd", "--endpoint=http://127.0.0.1:1", "list-units"], "");
    assert_eq!(
        output,
        "err| Error retrieving list of units from repository: client: etcd cluster is unavailable or misconfigured; \
         error #0: dial tcp 127.0.0.1:1: connect: connection refused\nexit 1\n"
    );
}

#[test]
fn a_newer_fleetd_causes_a_warning() {
    let fixture = Fixture::start("127.0.0.1:0");
    fixture.set("machines/2/object", "{\"ID\":\"2\",\"Version\":\"1.10.0\"}");
    let output = fixture.run(&["list-units", "--no-legend"]);
    let bar = "#".repeat(68);
    assert_eq!(
        output,
        format!(
            "err| {bar}\nerr| WARNING: fleetctl (1.0.0) is older than the latest registered\n\
             err| version of fleet found in the cluster (1.10.0). You are strongly\n\
             err| recommended to upgrade fleetctl to prevent incompatibility issues.\nerr| {bar}\n"
        )
    );
}

/// Without --driver, an endpoint with a port of etcd is probed.
#[test]
fn etcd_is_recognised_by_its_port() {
    let fixture = Fixture::start("127.0.0.79:4001");
    let list = ["list-machines", "--no-legend", "--fields=machine"];
    let run = |arguments: &[&str]| fixture.program.run(&[arguments, &list].concat(), "");
    assert_eq!(run(&["--endpoint", &fixture.etcd.url]), "out| 113f16a7...\n");
    let as_api = run(&["--driver=API", "--endpoint", &fixture.etcd.url]);
    assert!(as_api.starts_with("err| Error retrieving list of active machines from fleet API"), "{as_api}");
    // An unreachable endpoint is used as the API.
    let output = run(&["--endpoint", "http://127.0.0.80:4001"]);
    assert!(
        output.contains("from fleet API (Get http://127.0.0.80:4001/fleet/v1/machines?alt=json: dial tcp"),
        "{output}"
    );
}
