//! Every name of the CSDL that this simulator serves or accepts, by type. A test holds them against the schema.

/// `mobileApp`.
pub const MOBILE_APP: [&str; 10] = [
    "id",
    "displayName",
    "description",
    "publisher",
    "createdDateTime",
    "lastModifiedDateTime",
    "isFeatured",
    "owner",
    "developer",
    "publishingState",
];
/// `mobileAppAssignment`.
pub const ASSIGNMENT: [&str; 4] = ["id", "intent", "target", "settings"];
/// `detectedApp`.
pub const DETECTED_APP: [&str; 7] =
    ["id", "displayName", "version", "sizeInByte", "deviceCount", "publisher", "platform"];
/// `managedDevice`.
pub const MANAGED_DEVICE: [&str; 10] = [
    "id",
    "deviceName",
    "managedDeviceOwnerType",
    "enrolledDateTime",
    "lastSyncDateTime",
    "operatingSystem",
    "complianceState",
    "osVersion",
    "userPrincipalName",
    "serialNumber",
];
/// `installIntent`.
pub const INTENTS: [&str; 4] = ["available", "required", "uninstall", "availableWithoutEnrollment"];
/// What `mobileAppAssignment.target` may be, with its properties.
pub const TARGETS: [(&str, &[&str]); 4] = [
    ("groupAssignmentTarget", &["groupId"]),
    ("exclusionGroupAssignmentTarget", &["groupId"]),
    ("allLicensedUsersAssignmentTarget", &[]),
    ("allDevicesAssignmentTarget", &[]),
];
/// What `mobileAppAssignment.settings` may be, with its properties.
pub const SETTINGS: [(&str, &[&str]); 2] = [
    (
        "win32LobAppAssignmentSettings",
        &[
            "autoUpdateSettings",
            "deliveryOptimizationPriority",
            "installTimeSettings",
            "notifications",
            "restartSettings",
        ],
    ),
    ("iosStoreAppAssignmentSettings", &["isRemovable", "uninstallOnDeviceRemoval", "vpnConfigurationId"]),
];
/// `complianceState`, those that it serves.
pub const COMPLIANCE: [&str; 2] = ["compliant", "noncompliant"];
/// Fixed values it serves: type of the enumeration, member.
pub const FIXED: [(&str, &str); 3] = [
    ("mobileAppPublishingState", "published"),
    ("managedDeviceOwnerType", "company"),
    ("detectedAppPlatformType", "windows"),
];
/// Actions: name, type it is bound to, parameters.
pub const ACTIONS: [(&str, &str, &[&str]); 2] =
    [("assign", "mobileApp", &["mobileAppAssignments"]), ("syncDevice", "managedDevice", &[])];
/// Navigation: type, property.
pub const NAVIGATION: [(&str, &str); 2] = [("mobileApp", "assignments"), ("detectedApp", "managedDevices")];
