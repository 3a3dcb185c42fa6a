//! The one place that decides what somebody may do: Cedar policies, shipped and readable, with those of the operator beside
//! them.
//!
//! # Guarantees
//! - Every policy is checked against the schema when it is loaded; what does not fit stops the start, with file and line.
//! - A `forbid` wins. What is not permitted is denied, and so is what could not be decided (a policy that fails).

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use trueup_engine::credentials::{Grant, Role};

use super::principal::{Kind, Principal};
use super::{Permission, source};

/// The policies that ship.
pub const SHIPPED: &str = include_str!("policies.cedar");
/// What policies can talk about.
pub const SCHEMA: &str = include_str!("schema.cedarschema");
/// The fleet: every tenant is in it.
const FLEET: &str = "*";
/// Files read from a folder, and bytes of each.
const MAX_FILES: usize = 256;
const MAX_FILE: u64 = 1024 * 1024;

/// What policies say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Permitted,
    /// Nothing permits it.
    NotPermitted,
    /// These policies forbid it, or could not be evaluated.
    Forbidden(Vec<String>),
}

/// All policies in force; without any, nothing is permitted.
pub struct Policies(Option<Loaded>);

struct Loaded {
    set: PolicySet,
    caller: EntityTypeName,
    tenant: EntityTypeName,
    /// In the order of [`Permission::ALL`].
    actions: Vec<EntityUid>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policies({})", self.0.as_ref().map_or(0, |l| l.set.policies().count()))
    }
}

impl Policies {
    /// Only those that ship.
    pub fn shipped() -> Arc<Self> {
        static ONLY: LazyLock<Arc<Policies>> = LazyLock::new(|| {
            Arc::new(Policies::load(None).unwrap_or_else(|why| {
                tracing::error!(
                    why,
                    "the shipped authorization policies cannot be used: everything is denied"
                );
                Policies(None)
            }))
        });
        ONLY.clone()
    }

    /// Those that ship, and the `*.cedar` files of a folder.
    ///
    /// # Errors
    /// Every flaw found, each with file and line.
    pub fn load(folder: Option<&Path>) -> Result<Self, String> {
        let mut files = vec![("policies.cedar".to_owned(), SHIPPED.to_owned())];
        if let Some(folder) = folder {
            files.extend(read(folder)?);
        }
        Self::of(&files)
    }

    fn of(files: &[(String, String)]) -> Result<Self, String> {
        let schema = Schema::from_str(SCHEMA).map_err(|e| format!("schema.cedarschema: {e}"))?;
        let (mut set, mut flaws) = (PolicySet::new(), String::new());
        for (file, text) in files {
            let policies = match PolicySet::from_str(text) {
                Ok(policies) => policies,
                Err(errors) => {
                    for error in errors.iter() {
                        let _ = writeln!(flaws, "{}", source::flaw(file, text, error));
                    }
                    continue;
                }
            };
            if policies.templates().next().is_some() {
                let _ = writeln!(
                    flaws,
                    "{file}: templates (?principal, ?resource) are not used here; write policies"
                );
            }
            let checked = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
            for error in checked.validation_errors() {
                let _ = writeln!(flaws, "{}", source::flaw(file, text, error));
            }
            for policy in policies.policies() {
                if let Err(e) = set.add(policy.new_id(id_of(file, policy))) {
                    let _ = writeln!(flaws, "{file}: {e}; give each policy an @id of its own");
                }
            }
        }
        if !flaws.is_empty() {
            return Err(flaws.trim_end().to_owned());
        }
        let named = |name: &str| EntityTypeName::from_str(name).map_err(|e| e.to_string());
        let action =
            |p: &Permission| EntityUid::from_str(&format!("Action::\"{p}\"")).map_err(|e| e.to_string());
        let actions = Permission::ALL.iter().map(action).collect::<Result<_, String>>()?;
        Ok(Self(Some(Loaded { set, caller: named("Caller")?, tenant: named("Tenant")?, actions })))
    }

    /// Whether somebody may do something in a tenant; in the fleet itself if it is `None`.
    pub fn decide(&self, who: &Principal, permission: Permission, tenant: Option<&str>) -> Verdict {
        let Some(loaded) = &self.0 else { return Verdict::Forbidden(vec!["there are no policies".into()]) };
        loaded.decide(who, permission, tenant).unwrap_or_else(|why| Verdict::Forbidden(vec![why]))
    }

    /// The roles that permit something in a tenant, to anybody.
    pub fn roles_with(&self, permission: Permission, tenant: Option<&str>) -> Vec<Role> {
        let permits = |role: &Role| {
            let grants = vec![Grant { tenant: tenant.map(str::to_owned), role: *role }];
            let somebody = Principal::new(Kind::Key, "somebody", grants, None);
            self.decide(&somebody, permission, tenant) == Verdict::Permitted
        };
        Role::ALL.into_iter().filter(permits).collect()
    }
}

impl Loaded {
    fn tenant(&self, name: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.tenant.clone(), EntityId::new(name))
    }

    fn caller(&self, who: &Principal) -> Result<Entity, String> {
        let text = |value: &str| RestrictedExpression::new_string(value.to_owned());
        let mut about = HashMap::from([
            ("kind".to_owned(), text(who.kind.as_str())),
            ("name".to_owned(), text(&who.name)),
        ]);
        for role in Role::ALL {
            let granted = who.grants.iter().filter(|g| g.role == role);
            let tenants = granted.map(|g| {
                RestrictedExpression::new_entity_uid(self.tenant(g.tenant.as_deref().unwrap_or(FLEET)))
            });
            about.insert(role.as_str().to_owned(), RestrictedExpression::new_set(tenants));
        }
        let name = EntityId::new(format!("{}:{}", who.kind.as_str(), who.name));
        let uid = EntityUid::from_type_name_and_id(self.caller.clone(), name);
        Entity::new(uid, about, HashSet::new()).map_err(|e| e.to_string())
    }

    fn decide(
        &self,
        who: &Principal,
        permission: Permission,
        tenant: Option<&str>,
    ) -> Result<Verdict, String> {
        let caller = self.caller(who)?;
        let (uid, fleet) = (caller.uid(), self.tenant(FLEET));
        let mut entities = vec![caller, Entity::with_uid(fleet.clone())];
        let resource = self.tenant(tenant.unwrap_or(FLEET));
        if resource != fleet {
            entities.push(Entity::new_no_attrs(resource.clone(), HashSet::from([fleet])));
        }
        let entities = Entities::from_entities(entities, None).map_err(|e| e.to_string())?;
        let action = self.actions.get(permission as usize).cloned().ok_or("an action without a name")?;
        let request =
            Request::new(uid, action, resource, Context::empty(), None).map_err(|e| e.to_string())?;
        let response = Authorizer::new().is_authorized(&request, &self.set, &entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let reasons: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        Ok(match response.decision() {
            // A forbid that fails would be passed over: then nothing is known.
            _ if !errors.is_empty() => {
                tracing::error!(?errors, "an authorization policy failed; the request is denied");
                Verdict::Forbidden(errors)
            }
            Decision::Allow => Verdict::Permitted,
            Decision::Deny if reasons.is_empty() => Verdict::NotPermitted,
            Decision::Deny => Verdict::Forbidden(reasons),
        })
    }
}

/// What a policy is called: its `@id`, else the file and its place there.
fn id_of(file: &str, policy: &Policy) -> PolicyId {
    match policy.annotation("id").filter(|id| !id.is_empty()) {
        Some(id) => PolicyId::new(id),
        None => PolicyId::new(format!("{file} {}", policy.id())),
    }
}

/// The policy files of a folder, by name.
fn read(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let at = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| at(folder, e))? {
        let path = entry.map_err(|e| at(folder, e))?.path();
        if path.extension().is_some_and(|e| e == "cedar") {
            paths.push(path);
        }
    }
    if paths.len() > MAX_FILES {
        return Err(format!("{}: {} policy files; at most {MAX_FILES}", folder.display(), paths.len()));
    }
    if paths.is_empty() {
        return Err(format!(
            "{}: holds no *.cedar file; leave the option out if there are none",
            folder.display()
        ));
    }
    paths.sort();
    let text = |path: &Path| -> Result<String, String> {
        let size = std::fs::metadata(path).map_err(|e| at(path, e))?.len();
        if size > MAX_FILE {
            return Err(format!("{}: {size} bytes; at most {MAX_FILE}", path.display()));
        }
        std::fs::read_to_string(path).map_err(|e| at(path, e))
    };
    paths.iter().map(|path| Ok((path.display().to_string(), text(path)?))).collect()
}

#[cfg(test)]
mod tests;
