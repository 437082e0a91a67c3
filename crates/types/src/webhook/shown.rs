//! A webhook's URL as it is shown.

use std::borrow::Cow;

/// A URL without userinfo, and with the query's values masked.
pub(super) fn shown(url: &str) -> Cow<'_, str> {
    if !url.contains(['?', '@']) {
        return Cow::Borrowed(url);
    }
    let (before_query, query) = url
        .split_once('?')
        .map_or((url, None), |(before, query)| (before, Some(query)));
    let mut text = without_userinfo(before_query);
    if let Some(query) = query {
        let masked: Vec<String> = query
            .split('&')
            .map(|pair| {
                pair.split_once('=')
                    .map_or("***".to_owned(), |(name, _)| format!("{name}=***"))
            })
            .collect();
        text.push('?');
        text.push_str(&masked.join("&"));
    }
    Cow::Owned(text)
}

fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    [scheme, "://", host, path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_shows_neither_userinfo_nor_query_values() {
        assert_eq!(
            shown("https://u:p@m.example:8443/a/b?token=s3cret&x"),
            "https://m.example:8443/a/b?token=***&***"
        );
        assert_eq!(shown("http://m.example/@me"), "http://m.example/@me");
    }
}
