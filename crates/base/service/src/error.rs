//! An error with everything that led to it, as one line of text.

use std::error::Error;

/// `what failed: why: root cause`. A cause that only says again what stands before it, as behind a transparent
/// error, is passed over.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if said != last {
            text.push_str(": ");
            text.push_str(&said);
        }
        last = said;
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Said(&'static str, Option<Box<Said>>);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Said {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let check = |words: &[&'static str], expect: &str| {
            let error = words.iter().rev().fold(None, |cause, word| Some(Box::new(Said(word, cause))));
            assert_eq!(chain(&*error.unwrap()), expect);
        };
        check(&["up"], "up");
        check(&["up", "core-01", "no port"], "up: core-01: no port");
        check(&["up", "core-01", "core-01", "no port"], "up: core-01: no port");
        // What only ends like the cause is no repetition of it.
        check(&["there is no port", "no port"], "there is no port: no port");
    }
}
