use crate::text::text;

/// An organization of AWS accounts: `o-` and 10 to 32 lower-case letters and digits.
/// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Organization.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgId(String);

/// An organizational unit by its whole path from the organization down: `o-a1b2c3d4e5/r-ab12/` for the root,
/// `o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/` for a unit below it. It ends in `/`, so that no unit is the
/// beginning of another one's name.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed-view-data-orgs.html#access_policies_last-accessed-viewing-orgs-entity-path>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OuPath(String);

impl OrgId {
    /// Reads one.
    ///
    /// # Errors
    /// [`OrganizationError::Organization`].
    pub fn parse(text: &str) -> Result<Self, OrganizationError> {
        if is_organization(text) { Ok(Self(text.to_owned())) } else { Err(OrganizationError::Organization) }
    }
}

impl OuPath {
    /// Reads one, with at most eight units below the root; AWS allows five.
    ///
    /// # Errors
    /// [`OrganizationError::Unit`]; there are no wildcards.
    pub fn parse(text: &str) -> Result<Self, OrganizationError> {
        let mut segments = text.strip_suffix('/').ok_or(OrganizationError::Unit)?.split('/');
        let head = segments.next().is_some_and(is_organization) && segments.next().is_some_and(is_root);
        let depth = segments.clone().count();
        if head && depth <= MAX_UNITS && segments.all(is_unit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(OrganizationError::Unit)
        }
    }

    /// Whether `path` is this unit or lies below it: whole segments are compared.
    #[must_use]
    pub fn holds(&self, path: &Self) -> bool {
        path.0.starts_with(&self.0)
    }
}

text!(OrgId, OrganizationError, 0);
text!(OuPath, OrganizationError, 0);

/// Why a text names no part of an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrganizationError {
    /// Not an organization.
    #[error("an organization is o- and 10 to 32 characters of a-z 0-9")]
    Organization,
    /// Not a path to a unit.
    #[error("an organizational unit is a path of the form o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/")]
    Unit,
}

fn is_organization(text: &str) -> bool {
    text.strip_prefix("o-").is_some_and(|rest| is_code(rest, 10))
}

/// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_Root.html>
fn is_root(text: &str) -> bool {
    text.strip_prefix("r-").is_some_and(|rest| is_code(rest, 4))
}

/// <https://docs.aws.amazon.com/organizations/latest/APIReference/API_OrganizationalUnit.html>
fn is_unit(text: &str) -> bool {
    let parts = text.strip_prefix("ou-").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(root, unit)| is_code(root, 4) && is_code(unit, 8))
}

fn is_code(text: &str, least: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (least..=MAX_CODE).contains(&text.len()) && text.bytes().all(allowed)
}

const MAX_CODE: usize = 32;

/// <https://docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html>: five.
const MAX_UNITS: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn organizations_have_awss_form() {
        for good in ["o-a1b2c3d4e5", &format!("o-{}", "a".repeat(32))] {
            assert_eq!(OrgId::parse(good).unwrap().to_string(), good);
        }
        let long = format!("o-{}", "a".repeat(33));
        for bad in [
            "",
            "o-",
            "o-a1b2c3d4e",
            "O-a1b2c3d4e5",
            "o-A1b2c3d4e5",
            "o-a1b2c3d4e5/",
            "o-*",
            "a1b2c3d4e5",
            &long,
        ] {
            assert_eq!(OrgId::parse(bad), Err(OrganizationError::Organization), "{bad}");
        }
    }

    #[test]
    fn units_are_whole_paths_that_end_in_a_slash() {
        let deep = format!("o-a1b2c3d4e5/r-ab12/{}", "ou-ab12-11111111/".repeat(MAX_UNITS));
        for good in ["o-a1b2c3d4e5/r-ab12/", "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/", &deep] {
            assert_eq!(OuPath::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "o-a1b2c3d4e5/",
            "o-a1b2c3d4e5/r-ab12",
            "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111",
            "o-a1b2c3d4e5/r-ab12/*",
            "o-a1b2c3d4e5/r-ab12/*/",
            "o-a1b2c3d4e5/r-ab12/ou-ab12-1111111*/",
            "o-a1b2c3d4e5/r-ab12//",
            "/o-a1b2c3d4e5/r-ab12/",
            "o-a1b2c3d4e5/ou-ab12-11111111/",
            "r-ab12/o-a1b2c3d4e5/",
            "x/r-ab12/",
            "o-a1b2c3d4e5/r-abc/",
            "o-a1b2c3d4e5/r-ab12/ou-ab12-1111111/",
            "o-a1b2c3d4e5/r-ab12/ou-abc-11111111/",
            "o-a1b2c3d4e5/r-ab12/OU-ab12-11111111/",
            &format!("{deep}ou-ab12-11111111/"),
        ] {
            assert_eq!(OuPath::parse(bad), Err(OrganizationError::Unit), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_unit_holds_itself_and_what_lies_below_and_nothing_else(
            above in proptest::collection::vec("ou-ab12-[ab]{8,9}", 0..4),
            below in proptest::collection::vec("ou-ab12-[ab]{8,9}", 0..4),
        ) {
            let path = |units: &[String]| {
                let units: String = units.iter().map(|unit| format!("{unit}/")).collect();
                OuPath::parse(&format!("o-a1b2c3d4e5/r-ab12/{units}")).unwrap()
            };
            prop_assert_eq!(path(&above).holds(&path(&below)), below.starts_with(&above));
            prop_assert!(path(&above).holds(&path(&[above.clone(), below].concat())));
        }
    }
}
