//! The rows of each class, as the site would list them. What this simulator has no word for is absent here, and null in
//! an answer.

use serde_json::{Map, Value, json};
use trueup_model::Time;

use super::schema::Class;
use super::state::{INSTALL, REQUIRED, State};

type Row = Map<String, Value>;

const SITE: &str = "TUP";
/// `FeatureType` of an application, of a baseline.
const APPLICATION: u32 = 1;
const BASELINE: u32 = 6;
/// `DeploymentIntent`.
const INTENT_REQUIRED: u32 = 1;
const INTENT_AVAILABLE: u32 = 2;

/// `None`: a class that exists and is not listed here.
pub(crate) fn of(name: &str, state: &State, now: Time) -> Option<Vec<Row>> {
    let rows = match name {
        "SMS_ApplicationAssignment" => deployments(state, now),
        "SMS_FullCollectionMembership" => memberships(state),
        "SMS_DeploymentSummary" => summaries(state, now),
        "SMS_Collection" => collections(state),
        "SMS_DCMDeploymentNonCompliantAssetDetails" => failing(state),
        "SMS_G_System_INSTALLED_SOFTWARE" if state.no_inventory => Vec::new(),
        "SMS_G_System_WORKSTATION_STATUS" if state.no_inventory => Vec::new(),
        "SMS_G_System_INSTALLED_SOFTWARE" => software(state),
        "SMS_G_System_WORKSTATION_STATUS" => scans(state, now),
        "SMS_ClientOperationStatus" => Vec::new(),
        _ => return None,
    };
    let object = |row| if let Value::Object(row) = row { row } else { Row::new() };
    Some(rows.into_iter().map(object).collect())
}

/// A row with all properties of its class; lazy ones only where they are there already.
pub(crate) fn whole(class: &Class, mut row: Row) -> Row {
    row.retain(|name, _| class.properties.contains_key(name));
    for name in class.properties.keys().filter(|n| *n != "CollectionRules") {
        row.entry(name.clone()).or_insert(Value::Null);
    }
    row
}

fn deployments(state: &State, now: Time) -> Vec<Value> {
    let visible = state.deployments.iter().filter(|(_, d)| d.visible_at <= now);
    let row = |(id, d): (&u32, &super::state::Deployment)| {
        let mut row = d.body.clone();
        row.insert("AssignmentID".into(), (*id).into());
        row.insert("ApplicationName".into(), state.apps.get(&d.ci).map(|a| a.name.clone()).into());
        row.insert(
            "CollectionName".into(),
            state.collections.get(&d.collection).map(|c| c.name.clone()).into(),
        );
        row.insert("SourceSite".into(), SITE.into());
        Value::Object(row)
    };
    visible.map(row).collect()
}

fn memberships(state: &State) -> Vec<Value> {
    let mut rows = Vec::new();
    for (id, collection) in &state.collections {
        for device in collection.members.iter().map(|at| &state.devices[*at]) {
            rows.push(json!({"CollectionID": id, "ResourceID": device.resource, "Name": device.name, "SiteCode": SITE,
                "IsDirect": collection.rules.contains_key(&device.resource), "IsActive": true, "IsClient": true,
                "IsObsolete": false, "ResourceType": 5}));
        }
    }
    rows
}

fn summaries(state: &State, now: Time) -> Vec<Value> {
    let size = |id: &str| state.collections.get(id).map_or(0, |c| c.members.len());
    let mut rows: Vec<Value> = Vec::new();
    for (id, d) in state.deployments.iter().filter(|(_, d)| d.visible_at <= now) {
        let required = d.is("OfferTypeID", REQUIRED) && d.is("DesiredConfigType", INSTALL);
        let app = state.apps.get(&d.ci);
        let members = state.collections.get(&d.collection).map(|c| &c.members);
        let done = members
            .into_iter()
            .flatten()
            .filter(|at| app.is_some_and(|a| state.devices[**at].has.get(&a.name) == Some(&a.version)));
        let (all, done) = (size(&d.collection), done.count());
        rows.push(json!({"AssignmentID": id, "CI_ID": d.ci, "CollectionID": d.collection, "FeatureType": APPLICATION,
            "ApplicationName": app.map(|a| &a.name), "SoftwareName": app.map(|a| &a.name),
            "DeploymentIntent": if required { INTENT_REQUIRED } else { INTENT_AVAILABLE },
            "DesiredConfigType": d.body.get("DesiredConfigType"), "NumberTargeted": all, "NumberSuccess": done,
            "NumberErrors": 0, "NumberInProgress": 0, "NumberOther": 0, "NumberUnknown": all - done,
            "SummarizationTime": now}));
    }
    for (id, b) in &state.baselines {
        let all = size(&b.collection);
        rows.push(json!({"AssignmentID": id, "CI_ID": id, "CollectionID": b.collection, "FeatureType": BASELINE,
            "SoftwareName": format!("Baseline {id}"), "DeploymentIntent": INTENT_REQUIRED, "NumberTargeted": all,
            "NumberSuccess": all - b.failing.len(), "NumberErrors": 0, "NumberInProgress": 0, "NumberOther": b.failing.len(),
            "NumberUnknown": 0, "SummarizationTime": now}));
    }
    rows
}

fn collections(state: &State) -> Vec<Value> {
    let row = |(id, c): (&String, &super::state::Collection)| {
        json!({"CollectionID": id, "Name": c.name, "CollectionType": 2, "MemberCount": c.members.len(), "IsBuiltIn": false,
            "LimitToCollectionID": "SMS00001", "MemberClassName": format!("SMS_CM_RES_COLL_{id}"), "CurrentStatus": 1})
    };
    state.collections.iter().map(row).collect()
}

/// By key also the lazy property is there.
pub(crate) fn collection_with_rules(class: &Class, state: &State, id: &str) -> Option<Row> {
    let collection = state.collections.get(id)?;
    let found = collections(state).into_iter().find(|row| row["CollectionID"] == id)?;
    let mut row = found.as_object().map(|row| whole(class, row.clone()))?;
    let rule = |(resource, name): (&u32, &String)| {
        json!({"@odata.type": "#AdminService.SMS_CollectionRuleDirect", "ResourceClassName": "SMS_R_System",
            "ResourceID": resource, "RuleName": name})
    };
    row.insert("CollectionRules".into(), collection.rules.iter().map(rule).collect());
    Some(row)
}

fn failing(state: &State) -> Vec<Value> {
    let mut rows = Vec::new();
    for (id, baseline) in &state.baselines {
        for device in baseline.failing.iter().map(|at| &state.devices[*at]) {
            // A device fails a baseline by one or more of its rules: a row for each.
            for (rule, rule_name) in [(1, "Disk is encrypted"), (2, "Firewall is on")] {
                rows.push(json!({"AssetID": device.resource, "AssetName": device.name, "AssetType": 1, "AssignmentID": id,
                    "BL_ID": id, "BLName": format!("Baseline {id}"), "CI_ID": id, "Rule_ID": rule, "RuleName": rule_name,
                    "RuleSubState": 0, "StatusType": 1, "TargetCollectionID": baseline.collection}));
            }
        }
    }
    rows
}

fn software(state: &State) -> Vec<Value> {
    let mut rows = Vec::new();
    for device in &state.devices {
        for (n, (name, (version, at))) in device.reported.iter().enumerate() {
            rows.push(json!({"ResourceID": device.resource, "GroupID": n + 1, "ProductName": name, "ARPDisplayName": name,
                "ProductVersion": version, "Publisher": "Contoso", "TimeStamp": at}));
        }
    }
    rows
}

fn scans(state: &State, now: Time) -> Vec<Value> {
    let row = |(at, device): (usize, &super::state::Device)| {
        let scan = state.last_scan(at, now);
        json!({"ResourceID": device.resource, "GroupID": 1, "LastHardwareScan": scan, "TimeStamp": scan, "TimeZoneOffset": 0})
    };
    state.devices.iter().enumerate().map(row).collect()
}
