//! The instruction by which a machine of VMware calls its hypervisor: it reads from an I/O port that does not exist.
//!
//! The hypervisor answers also without permission for the port, unless it is configured otherwise. Elsewhere the
//! instruction may fault: it runs only on machines of VMware, and a fault is handled as a port that does not exist.

use std::arch::x86_64::__cpuid;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};

use cloudinit::provider::guest_rpc::{PORT, Port, Registers};
use instruction::{AFTER_FAULT, INSTRUCTION};
use nix::errno::Errno;
use nix::libc;
use restrict::system_calls::VMWARE_PORTS;

/// Relative to the root.
const VENDOR_FILE: &str = "sys/class/dmi/id/sys_vendor";
const VENDOR: &str = "VMware, Inc.";
/// Of leaf [`HYPERVISOR_LEAF`], in `ebx`, `ecx`, `edx`.
const SIGNATURE: &[u8; 12] = b"VMwareVMware";
const FEATURES_LEAF: u32 = 1;
const HYPERVISOR_BIT: u32 = 1 << 31;
const HYPERVISOR_LEAF: u32 = 0x4000_0000;

/// The instruction, in a function of its own: the handler compares and sets addresses in it, which a compiler must not move.
#[allow(unsafe_code, reason = "assembly")]
mod instruction {
    use std::arch::global_asm;

    use cloudinit::provider::guest_rpc::Registers;

    // `rbx` belongs to the caller. The hypervisor changes no other registers than those of the structure.
    global_asm!(
        ".pushsection .text.coreos_cloudinit_backdoor, \"ax\", @progbits",
        ".globl coreos_cloudinit_backdoor",
        ".hidden coreos_cloudinit_backdoor",
        ".type coreos_cloudinit_backdoor, @function",
        "coreos_cloudinit_backdoor:",
        "push rbx",
        "mov r8, rdi",
        "mov eax, [r8]",
        "mov ebx, [r8 + 4]",
        "mov ecx, [r8 + 8]",
        "mov edx, [r8 + 12]",
        "mov esi, [r8 + 16]",
        "mov edi, [r8 + 20]",
        ".globl coreos_cloudinit_backdoor_in",
        ".hidden coreos_cloudinit_backdoor_in",
        "coreos_cloudinit_backdoor_in:",
        "in eax, dx",
        "mov [r8], eax",
        "mov [r8 + 4], ebx",
        "mov [r8 + 8], ecx",
        "mov [r8 + 12], edx",
        "mov [r8 + 16], esi",
        "mov [r8 + 20], edi",
        "mov eax, 1",
        "pop rbx",
        "ret",
        ".globl coreos_cloudinit_backdoor_fault",
        ".hidden coreos_cloudinit_backdoor_fault",
        "coreos_cloudinit_backdoor_fault:",
        "xor eax, eax",
        "pop rbx",
        "ret",
        ".popsection",
    );

    // SAFETY: the declarations are those of the assembly: a function, and two labels in it, whose content is not used.
    unsafe extern "C" {
        /// Returns 0 and leaves the registers as they are if the instruction faults.
        #[link_name = "coreos_cloudinit_backdoor"]
        pub(super) fn call(registers: *mut Registers) -> u32;
        #[link_name = "coreos_cloudinit_backdoor_in"]
        pub(super) static INSTRUCTION: u8;
        #[link_name = "coreos_cloudinit_backdoor_fault"]
        pub(super) static AFTER_FAULT: u8;
    }
}
/// Whether the processor or the firmware names VMware. Emulations have such firmware, too.
pub(super) fn is_vmware(root: &Path) -> bool {
    has_signature() || fs::read_to_string(root.join(VENDOR_FILE)).is_ok_and(|text| text.trim() == VENDOR)
}

fn has_signature() -> bool {
    if __cpuid(FEATURES_LEAF).ecx & HYPERVISOR_BIT == 0 {
        return false;
    }
    let leaf = __cpuid(HYPERVISOR_LEAF);
    [leaf.ebx, leaf.ecx, leaf.edx].map(u32::to_le_bytes).as_flattened() == SIGNATURE
}

/// The port, for this thread: the kernel permits ports per thread.
pub(super) struct Backdoor(PhantomData<*const ()>);

impl Backdoor {
    /// Requests permission for the port. The kernel may deny it: with Secure Boot always.
    ///
    /// # Errors
    /// Faults cannot be handled.
    pub fn open() -> io::Result<Self> {
        handle_faults()?;
        permit();
        Ok(Self(PhantomData))
    }
}

impl Port for Backdoor {
    #[allow(unsafe_code, reason = "assembly above")]
    fn call(&mut self, mut registers: Registers) -> Registers {
        registers.edx = registers.edx & !u32::from(u16::MAX) | u32::from(PORT);
        // SAFETY: `registers` has the layout that the assembly uses, and lives. It reads only the port of VMware, which has
        // no effect on other hardware. A fault is handled since `open`.
        if unsafe { instruction::call(&raw mut registers) } == 0 {
            registers.eax = u32::MAX;
        }
        registers
    }
}

#[allow(unsafe_code, reason = "ioperm has no safe wrapper")]
fn permit() {
    let (first, count) = VMWARE_PORTS;
    // SAFETY: permits ports that only `Backdoor` uses. Without the permission the hypervisor may still answer.
    let _: i32 = unsafe { libc::ioperm(first.into(), count.into(), 1) };
}

/// The action for faults elsewhere: Rust's, which reports an overflow of the stack.
static FORMER_ACTION: OnceLock<libc::sigaction> = OnceLock::new();

#[allow(unsafe_code, reason = "a handler that changes the program counter")]
fn handle_faults() -> io::Result<()> {
    static IS_INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut is_installed = IS_INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *is_installed {
        return Ok(());
    }
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: reads the current action into a structure that lives.
    Errno::result(unsafe { libc::sigaction(libc::SIGSEGV, ptr::null(), &raw mut action) })?;
    // Before the handler, which needs it.
    FORMER_ACTION.get_or_init(|| action);
    action.sa_sigaction = on_fault as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler makes only calls that are safe in one, and has the signature that SA_SIGINFO requires.
    Errno::result(unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) })?;
    *is_installed = true;
    Ok(())
}

#[allow(unsafe_code, reason = "a handler that changes the program counter")]
extern "C" fn on_fault(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a `ucontext_t` to a handler with SA_SIGINFO.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let counter = &mut context.uc_mcontext.gregs[libc::REG_RIP as usize];
    if *counter == (&raw const INSTRUCTION).addr() as i64 {
        *counter = (&raw const AFTER_FAULT).addr() as i64;
        return;
    }
    // The fault repeats, with the former action.
    if let Some(former) = FORMER_ACTION.get() {
        // SAFETY: an action that the kernel returned.
        let _: i32 = unsafe { libc::sigaction(signal, former, ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use cloudinit::provider::guest_rpc::{RpcError, guestinfo};

    use super::*;

    #[test]
    fn vmware_is_recognized_by_its_firmware() {
        let root = tempfile::tempdir().unwrap();
        if has_signature() {
            eprintln!("SKIPPED: vmware_is_recognized_by_its_firmware: this host is VMware's");
            return;
        }
        let folder = root.path().join("sys/class/dmi/id");
        fs::create_dir_all(&folder).unwrap();
        for (vendor, expect) in [("QEMU", false), ("VMware, Inc.", true), ("", false)] {
            fs::write(folder.join("sys_vendor"), format!("{vendor}\n")).unwrap();
            assert_eq!(is_vmware(root.path()), expect, "{vendor}");
        }
    }

    /// Without permission the instruction faults; with it, no device answers.
    #[test]
    fn a_machine_without_the_hypervisor_is_an_error() {
        if has_signature() {
            eprintln!("SKIPPED: a_machine_without_the_hypervisor_is_an_error: this host is VMware's");
            return;
        }
        handle_faults().unwrap();
        let unpermitted = &mut Backdoor(PhantomData);
        assert_eq!(guestinfo(unpermitted, "hostname"), Err(RpcError::NoHypervisor));
        assert_eq!(guestinfo(&mut Backdoor::open().unwrap(), "hostname"), Err(RpcError::NoHypervisor));
    }

    const ELSEWHERE: &str = "COREOS_CLOUDINIT_TEST_FAULT";

    /// Not the end of a test, but of the process that the next one starts.
    #[test]
    #[allow(unsafe_code, reason = "a fault")]
    fn fault_elsewhere() {
        if std::env::var_os(ELSEWHERE).is_some() {
            handle_faults().unwrap();
            // SAFETY: an instruction that is not permitted, and changes nothing.
            unsafe { std::arch::asm!("hlt") };
        }
    }

    #[test]
    fn other_faults_end_the_process() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "datasource::backdoor::tests::fault_elsewhere"]).env(ELSEWHERE, "1");
        let status = command.output().unwrap().status;
        assert_eq!(status.signal(), Some(libc::SIGSEGV), "{status}");
    }
}
