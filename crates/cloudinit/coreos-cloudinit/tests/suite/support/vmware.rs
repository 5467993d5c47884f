//! Runs the program on a model of VMware's hypervisor: it is traced, and the instruction that calls the hypervisor faults
//! and is emulated.

#[allow(dead_code, reason = "cloudinit's tests inject more faults")]
#[path = "../../../../cloudinit/src/provider/guest_rpc_model.rs"]
mod model;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Machine, RunOutput};

#[allow(unused_imports, reason = "each test file uses a part of it")]
pub use model::{Fault, Hypervisor};

/// `in eax, dx`.
const INSTRUCTION: u8 = 0xed;

/// What a run did, beyond its output.
pub struct Observed {
    pub output: RunOutput,
    /// Arguments of each request for I/O ports. It is refused: with the permission, the instruction would reach this
    /// host's hardware.
    pub ports: Vec<[u64; 3]>,
    /// `/proc/PID/task/TID/status` of the first thread, and of the others, at the first call of the hypervisor.
    pub first_thread: String,
    pub other_threads: Vec<String>,
}

/// Makes the firmware of the machine VMware's.
pub fn firmware(machine: &Machine) {
    machine.put("/sys/class/dmi/id/sys_vendor", "VMware, Inc.\n");
}

/// Runs the program to its end. Without a hypervisor, the instruction's fault is the program's.
#[allow(unsafe_code, reason = "ptrace between fork and exec")]
pub fn run(machine: &Machine, arguments: &[&str], mut hypervisor: Option<&mut Hypervisor>) -> Observed {
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| machine.folder().join(name));
    let mut command: Command = machine.command(arguments);
    command
        .stdin(Stdio::null())
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap());
    // SAFETY: ptrace's request to be traced is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| ptrace::traceme().map_err(std::io::Error::from));
    }
    let mut child = command.spawn().unwrap();
    let main = Pid::from_raw(i32::try_from(child.id()).unwrap());
    assert!(matches!(waitpid(main, None).unwrap(), WaitStatus::Stopped(_, Signal::SIGTRAP)));
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    ptrace::setoptions(main, options).unwrap();
    ptrace::syscall(main, None).unwrap();
    let (mut ports, mut first_thread, mut other_threads) = (Vec::new(), String::new(), Vec::new());
    let code = loop {
        // All threads of the program, but no children of other test threads.
        let status = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)).unwrap();
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, code) if pid == main => break code,
            WaitStatus::Signaled(pid, signal, _) if pid == main => break -(signal as i32),
            WaitStatus::PtraceSyscall(pid) => {
                ports.extend(refused_ports(pid));
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, ..) => (pid, None),
            WaitStatus::Stopped(pid, Signal::SIGSEGV) => {
                if first_thread.is_empty() {
                    (first_thread, other_threads) = threads(main);
                }
                let emulated = hypervisor.as_deref_mut().is_some_and(|hypervisor| emulate(pid, hypervisor));
                (pid, (!emulated).then_some(Signal::SIGSEGV))
            }
            // A new thread starts with a stop that is not a signal.
            WaitStatus::Stopped(pid, Signal::SIGSTOP | Signal::SIGTRAP) => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => continue,
        };
        // The thread may have been killed.
        ptrace::syscall(pid, signal).unwrap_or(());
    };
    // Already reaped above.
    assert!(child.wait().is_err());
    let [stdout, stderr] = [stdout, stderr].map(|path| fs::read_to_string(path).unwrap());
    Observed { output: RunOutput { code, stdout, stderr }, ports, first_thread, other_threads }
}

fn refused_ports(pid: Pid) -> Option<[u64; 3]> {
    let mut registers = ptrace::getregs(pid).unwrap();
    let info = ptrace::syscall_info(pid).unwrap();
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY || registers.orig_rax != libc::SYS_ioperm as u64 {
        return None;
    }
    registers.orig_rax = u64::MAX;
    ptrace::setregs(pid, registers).unwrap();
    Some([registers.rdi, registers.rsi, registers.rdx])
}

/// Whether the fault is the instruction's.
fn emulate(pid: Pid, hypervisor: &mut Hypervisor) -> bool {
    let mut registers = ptrace::getregs(pid).unwrap();
    let code = ptrace::read(pid, registers.rip as ptrace::AddressType).unwrap().to_le_bytes();
    if code[0] != INSTRUCTION {
        return false;
    }
    let call = [registers.rax, registers.rbx, registers.rcx, registers.rdx, registers.rsi, registers.rdi];
    let [eax, ebx, ecx, edx, esi, edi] = hypervisor.call(call.map(|register| register as u32)).map(u64::from);
    (registers.rax, registers.rbx, registers.rcx) = (eax, ebx, ecx);
    (registers.rdx, registers.rsi, registers.rdi) = (edx, esi, edi);
    registers.rip += 1;
    ptrace::setregs(pid, registers).unwrap();
    true
}

fn threads(main: Pid) -> (String, Vec<String>) {
    let mut others = Vec::new();
    let status = |name: &str| fs::read_to_string(format!("/proc/{main}/task/{name}/status")).unwrap();
    for task in fs::read_dir(format!("/proc/{main}/task")).unwrap() {
        let name = task.unwrap().file_name().into_string().unwrap();
        if name != main.to_string() {
            others.push(status(&name));
        }
    }
    (status(&main.to_string()), others)
}
