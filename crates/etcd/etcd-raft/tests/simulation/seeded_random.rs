//! Chance from one seed, also for libraries that ask the system for it. It must never let a thread
//! of a simulation see random numbers that its seed did not give.

use std::cell::RefCell;

use fastrand::Rng;

thread_local! {
    static SEEDED: RefCell<Option<Rng>> = const { RefCell::new(None) };
}

/// From now on this thread gets what it takes for the system's random numbers from `seed`: the
/// order of hash maps, openraft's election timeouts, ids that members draw.
pub fn seed_this_thread(seed: u64) {
    SEEDED.set(Some(Rng::with_seed(seed)));
}

/// Takes the place of the C library's function in this test program, for all of its threads; those
/// that have no seed ask the system.
///
/// # Safety
/// As that function's: `buffer` has room for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, flags: u32) -> isize {
    let given = SEEDED.try_with(|seeded| {
        let mut seeded = seeded.try_borrow_mut().ok()?;
        // SAFETY: the caller vouches for it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length) };
        seeded.as_mut()?.fill(bytes);
        Some(length as isize)
    });
    match given {
        Ok(Some(given)) => given,
        // SAFETY: the same arguments, as the system call takes them.
        _ => unsafe { nix::libc::syscall(nix::libc::SYS_getrandom, buffer, length, flags) as isize },
    }
}

/// Whether one thing in `many` happens.
pub fn one_in(rng: &mut Rng, many: u64) -> bool {
    rng.u64(0..many) == 0
}
