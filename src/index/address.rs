//! Where a system with an HTTP interface is.

use reqwest::Url;

/// The address in `index.url`. `advice` ends what is said of one that is none.
///
/// # Errors
/// Names the setting and what to do. Never shows the address, which may hold a secret.
pub fn http(url: &str, advice: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("index.url: is not an address ({error}); {advice}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("index.url: must start with `http://` or `https://`; {advice}"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("index.url: it holds a name or a password; put the key into `index.api_key`".to_owned());
    }
    Ok(parsed)
}
