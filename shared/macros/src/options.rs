//! What stands in the parentheses of `#[object(…)]`.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Lit, LitStr, MetaNameValue, Token};

use crate::faults::Faults;

/// As the broker's names are bounded.
const TYPEID_BYTES_MAX: usize = 200;

/// The typeid, if it is there and well formed.
pub(crate) fn typeid(options: TokenStream, faults: &mut Faults) -> Option<LitStr> {
    let all = match Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(options) {
        Ok(all) => all,
        Err(error) => {
            let help = "the options of #[object] are written `typeid = \"name/1\"`";
            faults.add(syn::Error::new(error.span(), help));
            return None;
        }
    };
    let (mut typeid, mut said) = (None, false);
    for option in all {
        if !option.path.is_ident("typeid") {
            faults.at(&option.path, "#[object] has no such option; it has `typeid`");
        } else if core::mem::replace(&mut said, true) {
            faults.at(&option.path, "the typeid is said twice");
        } else if let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = bare(&option.value) {
            match complaint(&text.value()) {
                Some(complaint) => faults.at(text, complaint),
                None => typeid = Some(text.clone()),
            }
        } else {
            faults.at(&option.value, "a typeid is a text, as in `typeid = \"inventory/1\"`");
        }
    }
    if !said {
        faults.missing("an object type needs a stable name: #[object(typeid = \"inventory/1\")]");
    }
    typeid
}

/// Without what a macro puts around what it passes on.
fn bare(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => bare(&group.expr),
        other => other,
    }
}

/// What is wrong with a typeid.
fn complaint(typeid: &str) -> Option<String> {
    let Some((name, version)) = typeid.rsplit_once('/') else {
        return Some(format!("typeid {typeid:?} has no version; write \"{typeid}/1\""));
    };
    if typeid.len() > TYPEID_BYTES_MAX {
        let size = typeid.len();
        return Some(format!("typeid of {size} bytes is longer than {TYPEID_BYTES_MAX}"));
    }
    if version.starts_with('0') || version.parse::<u32>().is_err() || version.starts_with('+') {
        return Some(format!(
            "typeid {typeid:?} ends in {version:?}, which is no version: they are numbers from 1 on"
        ));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if let Some(found) = name.chars().find(|&c| !allowed(c)) {
        return Some(format!(
            "typeid {typeid:?} has the character {found:?}; letters, digits and . _ - / are allowed"
        ));
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some(format!("typeid {typeid:?} has no name; write it as in \"inventory/1\""));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typeid_is_a_name_and_a_version() {
        for good in ["inventory/1", "shop/inventory/12", "a.b-c_D/4294967295"] {
            assert_eq!(complaint(good), None, "{good}");
        }
        for bad in [
            "",
            "inventory",
            "inventory/",
            "inventory/0",
            "inventory/01",
            "inventory/+1",
            "inventory/v1",
            "/1",
            "../1",
            "a//1",
            "in ventory/1",
            "inventory/4294967296",
        ] {
            assert!(complaint(bad).is_some(), "{bad}");
        }
        assert!(complaint(&format!("{}/1", "a".repeat(199))).is_some());
        assert_eq!(complaint(&format!("{}/1", "a".repeat(198))), None);
    }
}
