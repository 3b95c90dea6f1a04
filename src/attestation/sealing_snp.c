#include "attestation/sealing_snp.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sev-guest.h>
#include <string.h>
#include <sys/ioctl.h>

enum {
    KEY_OF_CHIP = 0,     // root_key_select: VCEK
    MIX_POLICY = 1 << 0, // guest_field_select: the policy says, for example, whether debugging is allowed
    MIX_MEASUREMENT = 1 << 3,
    MESSAGE_VERSION = 1,
    KEY_AT = 32,
};

enum cr_status cr_sealing_snp_parse(struct cr_slice answer, const char *device,
                                    unsigned char out[CR_KEY_SIZE])
{
    struct cr_cursor cursor = cr_cursor_over(answer);
    uint32_t refused = cr_read_u32(&cursor);
    cr_read_slice(&cursor, KEY_AT - sizeof refused);
    struct cr_slice key = cr_read_slice(&cursor, CR_KEY_SIZE);
    if (cursor.failed) return cr_fail(CR_INTERNAL, "%s: an answer of %zu bytes", device, answer.size);
    if (refused != 0) return cr_fail(CR_IO, "%s: the firmware derives no key: status %u", device, refused);
    if (cr_slice_is_zero(key)) return cr_fail(CR_IO, "%s: the firmware's key is all zeros", device);
    memcpy(out, key.data, CR_KEY_SIZE);
    return CR_OK;
}

enum cr_status cr_sealing_snp(const char *device, unsigned char out[CR_KEY_SIZE])
{
    CR_CLEANUP(cr_file_close) int fd = open(device, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return cr_fail(
            CR_NOT_FOUND,
            "%s: not there: this is no guest under SEV-SNP, or its driver (sev_guest) is not loaded", device);
    if (fd < 0) return cr_fail_errno(CR_IO, "%s: cannot be opened, which takes root", device);
    struct snp_derived_key_req wanted = {.root_key_select = KEY_OF_CHIP,
                                         .guest_field_select = MIX_POLICY | MIX_MEASUREMENT};
    struct snp_derived_key_resp answer = {0};
    struct snp_guest_request_ioctl request = {
        .msg_version = MESSAGE_VERSION, .req_data = (uintptr_t)&wanted, .resp_data = (uintptr_t)&answer};
    if (ioctl(fd, SNP_GET_DERIVED_KEY, &request) != 0)
        return cr_fail_errno(CR_IO, "%s: no key is derived (firmware %u, hypervisor %u)", device,
                             request.fw_error, request.vmm_error);
    enum cr_status status =
        cr_sealing_snp_parse((struct cr_slice){answer.data, sizeof answer.data}, device, out);
    cr_wipe(&answer, sizeof answer);
    return status;
}
