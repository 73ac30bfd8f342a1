//! An error in one line.

/// An error with its causes, each said once: many repeat their cause in their own words, which `{error:#}` would say again.
pub fn once(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !said.contains(&cause) {
            let between = if said.is_empty() { "" } else { ": " };
            said = format!("{said}{between}{cause}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::once;
    use crate::cli::AdminError;
    use anyhow::Context;
    use std::io;

    #[test]
    fn a_cause_that_an_error_says_itself_is_not_said_again() {
        let source = io::Error::other("Is a directory");
        let failed: Result<(), _> = Err(AdminError::Token { file: "/x/admin.token".into(), source });
        let error = failed.context("asking").expect_err("it failed");
        assert_eq!(once(&error), "asking: /x/admin.token: cannot be read: Is a directory");
    }
}
