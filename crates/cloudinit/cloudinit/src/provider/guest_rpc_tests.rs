use super::model::{Fault, Hypervisor};
use super::*;

impl Port for Hypervisor {
    fn call(&mut self, Registers { eax, ebx, ecx, edx, esi, edi }: Registers) -> Registers {
        let [eax, ebx, ecx, edx, esi, edi] = Hypervisor::call(self, [eax, ebx, ecx, edx, esi, edi]);
        Registers { eax, ebx, ecx, edx, esi, edi }
    }
}

const VALUES: [(&str, &str); 3] = [("hostname", "core-01"), ("empty", ""), ("four", "abcd")];

fn get(hypervisor: &mut Hypervisor, key: &str) -> Result<Option<String>, String> {
    let value = guestinfo(hypervisor, key).map_err(|error| error.to_string());
    assert_eq!(hypervisor.open, 0, "a channel is open");
    value.map(|value| value.map(|value| String::from_utf8(value).unwrap()))
}

fn with(fault: Fault) -> Hypervisor {
    Hypervisor::new(&VALUES).with_fault(fault)
}

#[test]
fn values_are_read() {
    for fault in
        [Fault::None, Fault::NoCookies, Fault::Checkpoints(1), Fault::Checkpoints(MAX_RPC_ATTEMPTS - 1)]
    {
        let mut hypervisor = with(fault);
        for (key, value) in VALUES {
            assert_eq!(get(&mut hypervisor, key), Ok(Some(value.to_owned())), "{fault:?}");
        }
        assert_eq!(get(&mut hypervisor, "other"), Ok(None));
        assert_eq!(hypervisor.requests.first().unwrap(), "info-get guestinfo.hostname");
    }
}

#[test]
fn what_is_no_vmware_is_an_error() {
    for (fault, calls, expect) in [
        (Fault::NoPort, 1, "no hypervisor answers at VMware's I/O port. "),
        (Fault::NoMessages, 3, "the hypervisor does not open a channel. Only VMware has guestinfo"),
        (Fault::StopsAfter(4), 20, "the hypervisor does not send its whole reply. "),
        (Fault::WrongPayload, 20, "the hypervisor's reply is incomplete: 0 bytes without a status"),
        (Fault::Replies(b""), 20, "the hypervisor's reply is incomplete: 0 bytes without a status"),
        (Fault::Replies(b"1"), 20, "the hypervisor's reply is incomplete: 1 bytes without a status"),
        (
            Fault::Replies(b"0 Permission denied"),
            20,
            "the hypervisor refuses the request: \"Permission denied",
        ),
        (Fault::Checkpoints(MAX_RPC_ATTEMPTS), 20, "snapshots or migrations interrupted 3 requests"),
        (Fault::Announces(u32::MAX), 20, "the hypervisor's reply has 4294967295 bytes, more than 1048578"),
    ] {
        let mut hypervisor = with(fault);
        let error = get(&mut hypervisor, "hostname").unwrap_err();
        assert!(error.starts_with(expect), "{fault:?}: {error}");
        assert!(hypervisor.calls <= calls, "{fault:?}: {}", hypervisor.calls);
    }
}

#[test]
fn a_value_of_one_mebibyte_is_the_largest() {
    let value = vec![b'x'; 1 << 20];
    let mut hypervisor = Hypervisor::default();
    hypervisor.guestinfo.insert("large".to_owned(), value.clone());
    assert_eq!(guestinfo(&mut hypervisor, "large"), Ok(Some(value)));
    hypervisor.guestinfo.get_mut("large").unwrap().push(b'x');
    hypervisor.calls = 0;
    let error = guestinfo(&mut hypervisor, "large").unwrap_err();
    assert_eq!(error, RpcError::TooLarge { bytes: (1 << 20) + 3 });
    assert!(hypervisor.calls < 20, "{}", hypervisor.calls);
}
