//! What wrong PINs have left.

use std::fmt;

use cryptoki::slot::TokenInfo;

/// How many wrong PINs a token still accepts, as far as PKCS#11 has it: never a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tries {
    /// No wrong PIN since the last correct one, or the token does not count them.
    NotReduced,
    /// At least one wrong PIN since the last correct one.
    Reduced,
    /// The next wrong PIN locks the token.
    Last,
    /// The token accepts no PIN.
    None,
}

impl Tries {
    pub(crate) fn of(token: &TokenInfo) -> Self {
        if token.user_pin_locked() {
            Self::None
        } else if token.user_pin_final_try() {
            Self::Last
        } else if token.user_pin_count_low() {
            Self::Reduced
        } else {
            Self::NotReduced
        }
    }
}

impl fmt::Display for Tries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotReduced => "the token reports no reduced number of attempts",
            Self::Reduced => "the token has fewer attempts than before, how many it does not report",
            Self::Last => "one attempt is left: the next wrong PIN locks the token",
            Self::None => "no attempt is left: the token is locked",
        })
    }
}
