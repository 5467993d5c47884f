//! Replies of VMware's hypervisor, or of what takes itself for one.

use cloudinit::limits::{MAX_GUESTINFO_BYTES, MAX_RPC_ATTEMPTS};
use cloudinit::provider::guest_rpc::{Port, Registers, guestinfo};

use crate::input::Input;
use crate::target::Target;

#[path = "../../../../cloudinit/cloudinit/src/provider/guest_rpc_model.rs"]
#[allow(dead_code, reason = "the client's tests use more of it")]
mod model;
use model::Hypervisor;

pub const TARGET: Target = Target {
    name: "guest_rpc",
    about: "a hypervisor's reply is a bounded value or a named error, after a bounded number of calls",
    run,
    seeds,
};

const REGISTERS: usize = 6;
const MAX_CHANGES: u8 = 16;
/// Calls of one attempt beyond those that transfer the reply.
const OTHER_CALLS: usize = 32;

/// A model whose answers are changed in places.
struct Changed {
    hypervisor: Hypervisor,
    /// Number of the call, register, and the bits that are inverted.
    changes: Vec<(usize, usize, u32)>,
}

impl Port for Changed {
    fn call(&mut self, registers: Registers) -> Registers {
        let Registers { eax, ebx, ecx, edx, esi, edi } = registers;
        let mut answer = self.hypervisor.call([eax, ebx, ecx, edx, esi, edi]);
        for (call, register, bits) in &self.changes {
            if *call == self.hypervisor.calls {
                answer[*register] ^= bits;
            }
        }
        let [eax, ebx, ecx, edx, esi, edi] = answer;
        Registers { eax, ebx, ecx, edx, esi, edi }
    }
}

/// The number of changes, the changes, then the value.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let changes = (0..input.byte() % MAX_CHANGES)
        .map(|_| {
            let (call, register) = (usize::from(input.byte()), usize::from(input.byte()) % REGISTERS);
            (call, register, u32::from(input.short()) << 16 | u32::from(input.short()))
        })
        .collect::<Vec<_>>();
    let value = input.rest().to_vec();
    let mut hypervisor = Hypervisor::default();
    hypervisor.guestinfo.insert("key".to_owned(), value.clone());
    let mut port = Changed { hypervisor, changes };
    let found = guestinfo(&mut port, "key");
    let transfers = MAX_GUESTINFO_BYTES.div_ceil(size_of::<u32>());
    assert!(port.hypervisor.calls <= MAX_RPC_ATTEMPTS * (transfers + OTHER_CALLS));
    match found {
        Ok(found) if port.changes.is_empty() => assert_eq!(found, Some(value)),
        Ok(found) => assert!(found.is_none_or(|found| found.len() <= MAX_GUESTINFO_BYTES)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let change = |call: u8, register: u8, bits: [u8; 4]| [&[1, call, register], &bits[..], b"value"].concat();
    vec![
        b"\0#cloud-config\n".to_vec(),
        // The version, the size of the reply, and a checkpoint within the request.
        change(1, 0, [0xff; 4]),
        change(12, 1, [0xff, 0x0f, 0, 0]),
        change(4, 2, [1, 0, 0, 0]),
    ]
}
