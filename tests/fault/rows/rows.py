#!/usr/bin/env python3
"""Thirty ways in which other PKCS#11 consumers failed in the field, each played again with the fault module: rows.py NAME. The table is
the list: what broke elsewhere, the faults (../README.md says how to read them; +N counts from now), what kluis does instead, and the check."""
import dataclasses
import functools
import sys
import typing

from rig import Rig, kluis
import checks_keys as keys
import checks_life as life
import checks_module as module
import checks_pins as pins


@dataclasses.dataclass
class Row:
    number: int
    name: str
    elsewhere: str
    script: str
    must: str
    check: typing.Callable
    at_start: bool = False  # the faults are there from the first call on
    module: str = "libkluis-fault.so"


SURVIVES = life.survives

ROWS = [
    Row(1, "dead-sessions",
        "crypto11#142, fabric#1022, #1047: the HSM restarts, dead sessions go back to the pool, and every call fails for ever",
        "C_Decrypt +1 drop-sessions",
        "no session is used again after an error that is not the data's; the worker is replaced and logs in once", SURVIVES()),
    Row(2, "stale-handles",
        "pkcs11-provider#494: sessions were rebuilt, object handles kept: every call fails, or means another key",
        "C_DecryptInit +1-8 permute-handles\nC_SignInit +1-8 permute-handles",
        "what a token answers is checked against the public half; a handle that means another key is found again", keys.other_handles),
    Row(3, "anchor-session",
        "crypto11#9, SoftHSMv2#464: the pool closed the last session when idle, which logged everybody out",
        "C_Decrypt every:7 return CKR_SESSION_CLOSED",
        "one session holds the login and is never closed; the others come and go without a caller's notice", life.anchor_stays),
    Row(4, "hang-after-idle",
        "Pkcs11Interop#214 (Luna): after idle time one call hangs for five minutes, then CRYPTOKI_NOT_INITIALIZED",
        "C_Decrypt +1 hang\n* 2-p return CKR_CRYPTOKI_NOT_INITIALIZED",
        "its caller gets 503 at the deadline, the worker is replaced", SURVIVES(settings=("deadline = 1s",))),
    Row(5, "session-dies-idle",
        "yubihsm-shell#541: sessions die when idle, and nothing but C_Finalize brings them back",
        "* 1-p return CKR_DEVICE_ERROR",
        "the canary fails, so the worker is replaced", SURVIVES()),
    Row(6, "sessions-exhausted",
        "yubihsm-shell#379, offline-keystore#44: crashed clients hold all 16 sessions",
        "C_OpenSession always max-sessions 16",
        "as many workers as there are sessions; none: no login, another try soon; sessions are given back at the end", life.sessions_run_out,
        at_start=True),
    Row(7, "device-error-then-invalid",
        "boulder#3468: a proxy restarted; DEVICE_ERROR once, then SESSION_HANDLE_INVALID without end",
        "C_Decrypt 1p return CKR_DEVICE_ERROR\n* 2-p return CKR_SESSION_HANDLE_INVALID",
        "a new session once, then a new worker", SURVIVES()),
    Row(8, "replug",
        "parsec#607, thin-edge.io#3548, xipki pkcs11wrapper#3: after unplug and replug nothing works until the process is restarted",
        "* 1-p return CKR_DEVICE_REMOVED",
        "the worker is replaced until one finds the token", life.replug),
    Row(9, "right-pin-refused",
        "yubico-piv-tool#270: PIN_INCORRECT for the right PIN after replug; retries would lock the token",
        "* 1-p return CKR_DEVICE_REMOVED\nC_Login +1 return CKR_PIN_INCORRECT",
        "a refused PIN is never sent again without an operator's word, whatever is restarted", pins.refused_once),
    Row(10, "stale-pin",
        "pkcs11-provider#455, opencryptoki#322: a daemon with a stale PIN locks the token",
        "* always pin-count\npin 648219",
        "one try, remembered over restarts; none when the token has one left", pins.stale_pin, at_start=True),
    Row(11, "fork",
        "libp11#39, #43, #245, #500, pkcs11-provider#281, OpenSC#960: after a fork handles are bad, modules crash or say ALREADY_INITIALIZED",
        "C_Initialize always return-after CKR_CRYPTOKI_ALREADY_INITIALIZED",
        "the process with the module is exec'd and cannot fork; a module that was initialised already is taken", life.never_forks),
    Row(12, "deadlock-in-initialize",
        "pkcs11-helper#16, OpenSC#1507, #2708, pkcs11-provider#187: a module forks or re-enters in C_Initialize, and deadlocks",
        "C_Initialize +1 hang",
        "the start has a deadline; nobody but callers of this token's private keys notices", life.hangs_at_start),
    Row(13, "crash-at-exit",
        "SoftHSMv2#635, #553, openssl#22508, libp11#239, yubihsm-shell#319, nethsm-pkcs11#327: crash at exit",
        "C_Finalize always abort\nC_Finalize always hang\nC_Finalize always exit 3",
        "finalised once at an orderly end, then _exit without exit handlers; the service ends in order", life.crashes_at_exit),
    Row(14, "version-lies",
        "SoftHSMv2#852: the function list says 3.2, so C_SessionCancel was called where there is none",
        "* always no-interface",
        "functions of 3.x only from C_GetInterface", module.serves, at_start=True),
    Row(15, "foreign-interface",
        "OpenSC#3580, #2875: dlsym finds C_GetInterface of another library",
        "",
        "a symbol counts only if it lies in the module itself", module.serves, module="libkluis-fault-impostor.so"),
    Row(16, "oaep-sha256-refused",
        "SoftHSMv2#474, #795, crypto11#101: OAEP with SHA-256 is ARGUMENTS_BAD",
        "* always hide-mechanism CKM_RSA_X_509",
        "probed by doing; raw RSA and a check in constant time; without that nobody wraps what nobody could unwrap", keys.refuses_oaep),
    Row(17, "oaep-parameters",
        "libp11#439 (Luna), rust-cryptoki#163, #165, opencryptoki#187: OAEP refused for source=0, or for a pointer to an empty label",
        "* always strict-oaep",
        "the plainest parameters there are", keys.plainest_parameters, at_start=True),
    Row(18, "leading-zeros",
        "ejbca-ce#67 (Utimaco), bc-java#1017, OpenSC#2925: leading zeros are stripped, 1 unwrap in 256 gives a wrong key",
        "C_Decrypt always strip-zeros\nC_Sign always strip-zeros",
        "probed with zeros; raw blocks and signatures are padded again", keys.leading_zeros, at_start=True),
    Row(19, "operation-active",
        "openjdk#1901, fabric#1976, libp11#82: an error path left the operation open, and then OPERATION_ACTIVE for ever",
        "C_Decrypt every:5 return CKR_GENERAL_ERROR\nC_Sign every:5 return CKR_FUNCTION_FAILED\nC_FindObjects every:3 return CKR_DEVICE_ERROR",
        "a session with an error in it is closed, never used again", SURVIVES(logins=0, allowed=(200,), same_worker=True)),
    Row(20, "throttled",
        "aws-cloudhsm-user-guide#25: a throttled HSM says DEVICE_ERROR to good data",
        "C_Decrypt every:5 return CKR_DEVICE_ERROR",
        "asked again before anybody is told that his data is bad; the worker stays", keys.survives_throttle),
    Row(21, "creation-races",
        "SoftHSMv2#573, #576, #578, #757: objects made at the same time are lost or damaged",
        "C_GenerateKeyPair always alone\nC_GenerateKeyPair always sleep 50",
        "one creation at a time for each token", keys.one_creation_at_a_time),
    Row(22, "slow-find",
        "SoftHSMv2#614, #680: a search takes seconds on a token with 300 keys",
        "C_FindObjectsInit always sleep 500",
        "handles are kept; no search for a key that is known", keys.finds_once),
    Row(23, "bare-general-error",
        "SoftHSMv2#793, #349, openbao#2974: a missing file or right shows as GENERAL_ERROR from C_Initialize",
        "C_Initialize always return CKR_GENERAL_ERROR",
        "the message says which module, as which user, and what to check", module.says_what_to_look_at),
    Row(24, "empty-token",
        "Parsec: mappings of keys that are not on the token at start are deleted; a wrong or empty token wipes them",
        "C_FindObjects always find-nothing",
        "nothing is pruned, no service key is made anew, 503 until the token shows its keys again", keys.empty_token),
    Row(25, "same-id-twice",
        "Cosmian#745, OpenSC#1613, libp11#486, pkcs11-provider#738: two keys with one label or id, and the wrong one is used",
        "C_FindObjects always find-duplicates",
        "a key whose id another one has is not used; one that is listed twice is one", keys.twice_on_the_token),
    Row(26, "cache-race",
        "fabric#1697: clearing the cache of handles raced, and a caller got another key's handle",
        "C_DecryptInit every:6 permute-handles\nC_SignInit every:6 permute-handles",
        "each answer is right or none", keys.gives_keys_back),
    Row(27, "slot-changes",
        "privacyidea#787, #1003, #1309, X-Road joint-dev#123, SoftHSMv2#382: slot id or serial number change on failover",
        "* always slot-id 91\n* always serial 99887766",
        "tokens are found by what the URI says, never by slot", module.label_binds),
    Row(28, "limits-misread",
        "pkcs11-provider#312, yubico-piv-tool#573: CK_UNAVAILABLE_INFORMATION taken for a limit; a cap below what is said",
        "C_GetTokenInfo always max-sessions 18446744073709551615\nC_GetTokenInfo always max-sessions 0\nC_GetTokenInfo always max-sessions 1\n"
        "C_OpenSession always max-sessions 4",
        "limits are hints: sessions are counted by opening them", module.limits_are_hints),
    Row(29, "module-panics",
        "nethsm-pkcs11#313, krill#761, node-webcrypto-p11#56: the module panics, or keeps a stale list of slots when an instance goes down",
        "C_Decrypt +1 abort\n* 1-p return CKR_SLOT_ID_INVALID",
        "a crash costs one worker, stale slots too", SURVIVES(logins=2)),
    Row(30, "old-blobs",
        "Barbican: a migration changed the mechanism's parameters, stored HMACs failed, and the tool for rotation was broken",
        "* always hide-mechanism CKM_RSA_PKCS_OAEP",
        "blobs say how and under which key they were made, and open after a rotation and on a token that works in another way",
        keys.old_backups_open),
]


def run(row):
    with Rig(row.script if row.at_start else "", row.module) as f:
        try:
            row.check(f, row)
        except BaseException:
            print(f.site.log_tail(40))
            raise


def main():
    if sys.argv[1:] == ["--names"]:
        print("\n".join(f"{row.number:02}-{row.name}" for row in ROWS))
        return
    sys.argv[1:] = [f"test_{name}" for name in sys.argv[1:]]
    kluis.main({f"test_{row.number:02}-{row.name}": functools.partial(run, row) for row in ROWS})


main()
