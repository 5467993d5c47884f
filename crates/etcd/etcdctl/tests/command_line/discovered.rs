//! `--discovery-srv` with a DNS server and a resolver configuration of the test.

use conformance::backend::{in_own_namespaces, resolve_on_loopback};
use simple_dns::RCODE;

use crate::canned::{Canned, Reply};
use crate::program::Program;
use crate::zone::{DnsReply, Zone};

const FOUND: Reply = Reply::Response(
    "200 OK",
    &["X-Etcd-Index: 9"],
    "{\"action\":\"get\",\"node\":{\"key\":\"/a\",\"value\":\"v\",\"modifiedIndex\":7,\"createdIndex\":6}}\n",
);

/// Any certificate: it is only parsed.
fn certificate() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
}

#[test]
fn a_domain_names_the_endpoints() {
    in_own_namespaces("discovered::a_domain_names_the_endpoints", || {
        resolve_on_loopback().unwrap();
        let server = Canned::start(&[FOUND]);
        let port: u16 = server.url.rsplit(':').next().unwrap().parse().unwrap();
        let zone = Zone::serve("127.0.0.1:53", move |name, kind| match (name, kind) {
            ("_etcd-client._tcp.example.test", "SRV") => {
                DnsReply::Services(vec![(0, 0, port, "a.example.test.".to_owned())])
            }
            ("a.example.test", "A") => DnsReply::Address([127, 0, 0, 1].into()),
            ("a.example.test", _) => DnsReply::Code(RCODE::NoError),
            ("_etcd-client-ssl._tcp.secure.test", "SRV") => {
                DnsReply::Services(vec![(0, 0, 1, "a.example.test.".to_owned())])
            }
            _ => DnsReply::Code(RCODE::NameError),
        });
        let get = ["--no-sync", "get", "/a"];
        let by_flag = ["-D", "example.test", "--no-sync", "--debug", "get", "/a"];
        let output = Program::ours().with("ETCDCTL_ENDPOINTS", "http://127.0.0.1:1").run(&by_flag, "");
        let expect = format!(
            "out| v\nerr| Cluster-Endpoints: http://a.example.test:{port}\n\
             err| cURL Command: curl -X GET http://a.example.test:{port}/v2/keys/a?quorum=false&recursive=false&sorted=false\n"
        );
        assert_eq!(output, expect);
        let by_variable = Program::ours().with("ETCDCTL_DISCOVERY_SRV", "example.test");
        assert_eq!(by_variable.run(&get, ""), "out| v\n");
        // An https endpoint whose server does not speak TLS.
        let folder = tempfile::tempdir().unwrap();
        let trusted = folder.path().join("ca.pem");
        std::fs::write(&trusted, certificate()).unwrap();
        let arguments =
            ["-D", "secure.test", "--no-sync", "--ca-file", trusted.to_str().unwrap(), "get", "/a"];
        let output = Program::ours().run(&arguments, "");
        let unreachable = "err| Error:  client: etcd cluster is unavailable or misconfigured\n\
                      err| error #0: dial tcp 127.0.0.1:1: connect: connection refused\nerr|\nexit 4\n";
        assert_eq!(output, unreachable);
        let absent = "err| dns lookup errors: \
                      lookup _etcd-client-ssl._tcp.absent.test on 127.0.0.1:53: no such host and \
                      lookup _etcd-client._tcp.absent.test on 127.0.0.1:53: no such host\nexit 1\n";
        assert_eq!(Program::ours().run(&["-D", "absent.test", "get", "/a"], ""), absent);
        assert_eq!(Program::ours().run(&["-D", "absent.test", "member", "list"], ""), absent);
        let queries = zone.queries();
        let srv = |line: &&String| line.contains(" SRV ") && line.ends_with(".example.test");
        let first: Vec<_> = queries.iter().filter(srv).take(2).map(String::as_str).collect();
        assert_eq!(
            first,
            ["udp SRV _etcd-client-ssl._tcp.example.test", "udp SRV _etcd-client._tcp.example.test"]
        );
    });
}
