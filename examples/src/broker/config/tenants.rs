use agentkeys_attest::select::Selection;
use agentkeys_core::TrustRoot;
use agentkeys_federation::{DataClass, TagsForm, Tenant, TenantPolicy};

use super::Reader;
use crate::broker::app::Wallets;
use crate::broker::settings::{Finding, Table};

impl Reader<'_> {
    /// The tenants of the file; where it names none, all agents of the attestor's root as one, with the data role
    /// of the variables.
    pub(super) fn tenants(
        &mut self,
        policy: TenantPolicy,
        selection: Option<&Selection>,
    ) -> (Vec<(Tenant, TenantPolicy)>, Wallets) {
        let (mut tenants, mut wallets) = (Vec::new(), Wallets::default());
        for table in self.file.tables("tenants", &mut self.findings) {
            tenants.extend(self.tenant(table, policy.clone(), &mut wallets));
        }
        let mut role = self.data_role();
        if role.is_none() && tenants.is_empty() {
            role = self.derived_data_role();
        }
        match role {
            Some(role) if tenants.is_empty() => {
                let parsed = role.parse(&mut self.findings);
                match (parsed, selection.map(root)) {
                    (Some(parsed), Some(Some(root))) => {
                        tenants.push((Tenant::unnamed(root), policy.with_role(DataClass::Data, parsed)));
                    }
                    (_, Some(None)) => {
                        let what =
                            "each role is a root of its own for this attestor: name the tenants in a file";
                        role.wrong(&what, &mut self.findings);
                    }
                    _ => {}
                }
            }
            Some(role) => {
                role.wrong(&"the file names tenants, and their roles are there", &mut self.findings)
            }
            None if tenants.is_empty() && self.findings.is_empty() => {
                let what = "there are no tenants, so nobody would get anything";
                self.findings.push(Finding::new("the file", &what));
            }
            None => {}
        }
        (tenants, wallets)
    }

    fn tenant(
        &mut self,
        mut table: Table<'_>,
        mut policy: TenantPolicy,
        wallets: &mut Wallets,
    ) -> Option<(Tenant, TenantPolicy)> {
        let findings = &mut self.findings;
        let root = table.must_say("root", findings);
        let root = root.and_then(|said| said.parse::<TrustRoot>(findings));
        let name = table.said("name", findings).map(|said| said.parse(findings));
        if let Some(said) = table.said("attribution", findings) {
            match said.text.as_str() {
                "source_identity" => policy = policy.attributed(),
                "source_identity_or_digest" => policy = policy.attributed_with_digests(),
                _ => said.wrong(&"it is source_identity or source_identity_or_digest", findings),
            }
        }
        if let Some(said) = table.said("tags", findings) {
            match said.text.as_str() {
                "nested" => policy = policy.with_tags_form(TagsForm::Nested),
                "flat" => policy = policy.with_tags_form(TagsForm::Flat),
                _ => said.wrong(&"it is nested or flat", findings),
            }
        }
        let roles = table.table("roles", findings).map(|roles| roles.all(findings)).unwrap_or_default();
        if roles.is_empty() {
            findings.push(Finding::new(table.place(), &"there are no roles, so nobody would get anything"));
        }
        for (class, role) in roles {
            match (class.parse::<DataClass>(), role.parse(findings)) {
                (Ok(class), Some(role)) => policy = policy.with_role(class, role),
                (Err(error), _) => role.wrong(&error, findings),
                (Ok(_), None) => {}
            }
        }
        let known = table.table("wallets", findings).map(|wallets| wallets.all(findings)).unwrap_or_default();
        table.finish(findings);
        let (root, name) = (root?, name.map_or(Some(None), |name| name.map(Some))?);
        for (agent, wallet) in known {
            match (agent.parse(), wallet.parse(findings)) {
                (Ok(agent), Some(parsed)) => wallets.insert(root.clone(), name.clone(), agent, parsed),
                (Err(error), _) => wallet.wrong(&error, findings),
                (Ok(_), None) => {}
            }
        }
        let tenant =
            name.map_or_else(|| Tenant::unnamed(root.clone()), |name| Tenant::new(root.clone(), name));
        Some((tenant, policy))
    }
}

/// The root of all agents of an attestor, where they have one.
fn root(selection: &Selection) -> Option<TrustRoot> {
    let root = match selection {
        Selection::AwsStsWeb(pins, _) => pins.cluster.to_string(),
        Selection::Oidc(pins, _) => pins.issuer.to_string(),
        Selection::Spire(pins, _) => format!("spiffe://{}", pins.trust_domain),
        _ => return None,
    };
    TrustRoot::parse(&root).ok()
}
