//! The runtime of openraft: tokio with two differences. A sleep shorter than the timer's resolution is a yield, and
//! timeouts of responses are longer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::OptionalSend;
use openraft::async_runtime::{AsyncRuntime, Instant};
use openraft_rt_tokio::{TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime, TokioWatch};

/// openraft batches completed flushes for one microsecond, which tokio's timer would round up to a millisecond: many
/// times the duration of a flush.
const MIN_TIMER_SLEEP: Duration = Duration::from_micros(500);

/// The factor by which response timeouts exceed openraft's, which waits for the response to a heartbeat only as long as
/// its `heartbeat_interval`: half of a lease. With slower responses (distant members, busy machines) an idle leader
/// would lose its lease for good and reject all writes and quorum reads. With this factor a response may take as long
/// as a lease. openraft uses timeouts for responses only.
pub const TIMEOUT_FACTOR: u32 = 2;

pub enum Sleep {
    Yield(bool),
    Timer(Pin<Box<tokio::time::Sleep>>),
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Sleep::Yield(true) => Poll::Ready(()),
            Sleep::Yield(yielded) => {
                *yielded = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Sleep::Timer(timer) => timer.as_mut().poll(context),
        }
    }
}

#[derive(Debug)]
pub struct Runtime(TokioRuntime);

impl AsyncRuntime for Runtime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        if duration < MIN_TIMER_SLEEP {
            return Sleep::Yield(false);
        }
        Sleep::Timer(Box::pin(TokioRuntime::sleep(duration)))
    }

    fn sleep_until(deadline: TokioInstant) -> Sleep {
        // Never before the deadline: openraft's clock would tick repeatedly for the same moment.
        if deadline <= TokioInstant::now() {
            return Sleep::Yield(false);
        }
        Sleep::Timer(Box::pin(TokioRuntime::sleep_until(deadline)))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration * TIMEOUT_FACTOR, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: TokioInstant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_sleep_ends_before_its_deadline() {
        for micros in [0, 1, 100, 499, 500, 1_500] {
            let deadline = TokioInstant::now() + Duration::from_micros(micros);
            Runtime::sleep_until(deadline).await;
            assert!(TokioInstant::now() >= deadline, "{micros} us");
        }
    }
}
