//! Why a request failed, without its address.

/// The first error of type `T` in a chain of sources.
pub(super) fn find<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost causes of an error, which name no URL: reqwest's own layer does.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    match texts.len() {
        0 => "request failed".to_owned(),
        len => texts.split_off(len.saturating_sub(2)).join(": "),
    }
}
