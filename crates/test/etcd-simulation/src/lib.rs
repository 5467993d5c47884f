//! Random numbers from one seed for simulations, also for libraries that use the system's: a simulation's thread gets
//! no others. The simulation of etcd's members is this package's test.

#![warn(missing_docs)]

use std::cell::RefCell;

use fastrand::Rng;

thread_local! {
    static SEEDED: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

/// Seeds the system's random numbers for this thread: the order of hash maps, openraft's election timeouts, generated
/// ids.
pub fn seed_this_thread(seed: u64) {
    SEEDED.set(Some(Rng::with_seed(seed)));
}

/// Replaces the C library's function in this program. Threads without a seed use the system call.
///
/// # Safety
///
/// As for the C function: `buffer` has space for `length` bytes.
#[unsafe(no_mangle)]
#[allow(unsafe_code, reason = "replaces a function of the C library")]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let given = SEEDED.try_with(|seeded| {
        let mut seeded = seeded.try_borrow_mut().ok()?;
        // SAFETY: guaranteed by the caller.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        seeded.as_mut()?.fill(bytes);
        Some(length as isize)
    });
    match given {
        Ok(Some(given)) => given,
        // SAFETY: the arguments are passed on unchanged.
        _ => unsafe { nix::libc::syscall(nix::libc::SYS_getrandom, buffer, length, flags) as isize },
    }
}

/// True with a probability of one in `many`.
pub fn one_in(rng: &mut Rng, many: u64) -> bool {
    rng.u64(0..many) == 0
}
