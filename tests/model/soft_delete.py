"""The reference model of soft delete: what Key Vault's rules say about vaults and what is in them, without a service. All of it is
here; nothing is taken from the service's code.

A world has a clock and vaults; a vault has objects by (kind, name); an object has versions. `World.do(step)` carries a step out and
answers (status, inner or outer error code) as the service must. Steps are tuples:

    ("set", vault, kind, name, serial)      a first or further version; its tag n = serial
    ("enable", vault, kind, name, flag)     the newest version
    ("delete" | "recover" | "purge" | "backup", vault, kind, name)   a backup is kept as the object's last one
    ("restore", vault, kind, name, source)  the last backup of `name` in the vault `source`
    ("vault", vault, retention, protected)  make it
    ("protect", vault, flag)  ("vdelete" | "vrecover" | "vpurge", vault)
    ("wall", seconds)   the wall clock is set, nothing else
    ("pass", seconds)   time passes, on all clocks
    ("restart",)        also after a crash: a service that begins believes the wall clock as it finds it
"""
import copy
from dataclasses import dataclass, field

DAY = 86400
ACTIVE, DELETED = "active", "deleted"
KINDS = {"keys": "KeyNotFound", "secrets": "SecretNotFound"}
OK, GONE, NO_VAULT = (200, None), (204, None), (404, "VaultNotFound")
HELD, TAKEN = (409, "ObjectIsDeletedButRecoverable"), (409, "Conflict")
PROTECTED, FROZEN = (403, "PurgeProtectionEnabled"), (503, "ServiceUnavailable")
STEP_LIMIT = 3600  # a wall clock further ahead of the time that passed is not believed


@dataclass
class Clock:
    wall: int = 0    # as set
    passed: int = 0  # as seen to pass by the service
    lead: int = 0    # of the wall clock before the other, since the service began

    def frozen(self):
        return self.lead > STEP_LIMIT


@dataclass
class Life:
    """What vaults and objects have in common."""
    state: str = ACTIVE
    deleted_wall: int = 0
    deleted_passed: int = 0

    def delete(self, clock):
        self.state, self.deleted_wall, self.deleted_passed = DELETED, clock.wall, clock.passed

    def recover(self):
        self.state = ACTIVE

    def due(self, clock, days):
        """Both the calendar and the time that really passed are beyond the retention."""
        return (self.state == DELETED and not clock.frozen() and clock.wall - self.deleted_wall >= days * DAY
                and clock.passed - self.deleted_passed >= days * DAY)


@dataclass
class Version:
    serial: int
    enabled: bool = True


@dataclass
class Object(Life):
    versions: list = field(default_factory=list)  # oldest first


@dataclass
class Vault(Life):
    retention: int = 90
    protected: bool = False
    objects: dict = field(default_factory=dict)  # (kind, name) -> Object

    def purge_refusal(self, life, clock):
        """Why what is deleted may not be purged by a caller; None = it may."""
        if not self.protected or life.due(clock, self.retention):
            return None
        return FROZEN if clock.frozen() else PROTECTED


class World:
    def __init__(self):
        self.clock = Clock()
        self.vaults = {}
        self.backups = {}  # (vault, kind, name) -> [Version]

    def copy(self):
        return copy.deepcopy(self)

    def do(self, step):
        return getattr(self, "do_" + step[0])(*step[1:])

    def active(self, vault):
        v = self.vaults.get(vault)
        return v if v and v.state == ACTIVE else None

    # --- objects: a vault that is not active has none for anybody ---

    def do_set(self, vault, kind, name, serial):
        v = self.active(vault)
        if not v:
            return NO_VAULT
        o = v.objects.setdefault((kind, name), Object())
        if o.state == DELETED:
            return HELD
        o.versions.append(Version(serial))
        return OK

    def find(self, vault, kind, name, state):
        """(vault, object, None) or (…, refusal)."""
        v = self.active(vault)
        o = v.objects.get((kind, name)) if v else None
        if not v:
            return v, o, NO_VAULT
        return v, o, None if o and o.state == state else (404, KINDS[kind])

    def do_enable(self, vault, kind, name, flag):
        _, o, refusal = self.find(vault, kind, name, ACTIVE)
        if refusal:
            return refusal
        o.versions[-1].enabled = flag
        return OK

    def do_delete(self, vault, kind, name):
        _, o, refusal = self.find(vault, kind, name, ACTIVE)
        if refusal:
            return refusal
        o.delete(self.clock)
        return OK

    def do_recover(self, vault, kind, name):
        _, o, refusal = self.find(vault, kind, name, DELETED)
        if refusal:
            return refusal
        o.recover()
        return OK

    def do_purge(self, vault, kind, name):
        v, o, refusal = self.find(vault, kind, name, DELETED)
        refusal = refusal or v.purge_refusal(o, self.clock)
        if refusal:
            return refusal
        del v.objects[(kind, name)]
        return GONE

    def do_backup(self, vault, kind, name):
        _, o, refusal = self.find(vault, kind, name, ACTIVE)
        if refusal:
            return refusal
        self.backups[(vault, kind, name)] = copy.deepcopy(o.versions)
        return OK

    def do_restore(self, vault, kind, name, source):
        v, versions = self.active(vault), self.backups[(source, kind, name)]
        if not v:
            return NO_VAULT
        o = v.objects.get((kind, name))
        if o:
            return HELD if o.state == DELETED else TAKEN
        v.objects[(kind, name)] = Object(versions=copy.deepcopy(versions))
        return OK

    # --- vaults ---

    def do_vault(self, vault, retention, protected):
        v = self.vaults.get(vault)
        if v:
            return HELD if v.state == DELETED else TAKEN
        self.vaults[vault] = Vault(retention=retention, protected=protected)
        return OK

    def do_protect(self, vault, flag):
        v = self.active(vault)
        if not v:
            return NO_VAULT
        if v.protected and not flag:
            return PROTECTED
        v.protected = flag
        return OK

    def do_vdelete(self, vault):
        v = self.active(vault)
        if not v:
            return NO_VAULT
        v.delete(self.clock)
        return OK

    def do_vrecover(self, vault):
        v = self.vaults.get(vault)
        if not v or v.state != DELETED:
            return NO_VAULT
        v.recover()
        return OK

    def do_vpurge(self, vault):
        v = self.vaults.get(vault)
        if not v or v.state != DELETED:
            return NO_VAULT
        refusal = v.purge_refusal(v, self.clock)
        if refusal:
            return refusal
        del self.vaults[vault]
        return GONE

    # --- time ---

    def do_wall(self, seconds):
        self.clock.wall += seconds
        self.clock.lead += seconds
        return self.sweep()

    def do_pass(self, seconds):
        self.clock.wall += seconds
        self.clock.passed += seconds
        return self.sweep()

    def do_restart(self):
        self.clock.lead = 0
        return self.sweep()

    def sweep(self):
        """What is due goes by itself, protected or not."""
        for name, v in list(self.vaults.items()):
            for key, o in list(v.objects.items()):
                if o.due(self.clock, v.retention):
                    del v.objects[key]
            if v.due(self.clock, v.retention):
                del self.vaults[name]
        return OK
