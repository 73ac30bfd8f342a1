//! Questions about a configuration that is not wrong.

/// What is odd about an AE title: sentences that follow the title, `has lower case letters: ...`.
pub fn title_questions(title: &str) -> Vec<String> {
    let mut questions = Vec::new();
    if title.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let upper = title.to_ascii_uppercase();
        questions.push(format!("has lower case letters: case counts, and most systems use \"{upper}\""));
    }
    if title.contains(' ') {
        questions.push("has spaces inside: some systems cut a title there".to_owned());
    }
    questions
}
