//! Formats an error with its causes as one line.

use std::error::Error;

/// `what failed: why: root cause`. Skips a cause with the same message as the error before it, such as that of a
/// transparent error.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if message != last {
            text.push_str(": ");
            text.push_str(&message);
        }
        last = message;
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct TestError(&'static str, Option<Box<TestError>>);

    impl fmt::Display for TestError {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for TestError {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn repeated_causes_are_skipped() {
        let check = |messages: &[&'static str], expect: &str| {
            let error =
                messages.iter().rev().fold(None, |cause, message| Some(Box::new(TestError(message, cause))));
            assert_eq!(chain(&*error.unwrap()), expect);
        };
        check(&["up"], "up");
        check(&["up", "core-01", "no port"], "up: core-01: no port");
        check(&["up", "core-01", "core-01", "no port"], "up: core-01: no port");
        // A message that merely ends like its cause is not a repetition.
        check(&["there is no port", "no port"], "there is no port: no port");
    }
}
