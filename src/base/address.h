// host:port, as settings and join tokens write it: "silo.example:7423", "127.0.0.1:0", "[::1]:7423".
#ifndef CARREL_BASE_ADDRESS_H
#define CARREL_BASE_ADDRESS_H

#include "base/status.h"

#include <stdbool.h>

enum { CR_HOST_SIZE = 254, CR_ADDRESS_SIZE = 264 }; // including the terminating zero

struct cr_address {
    char host[CR_HOST_SIZE]; // without brackets
    unsigned port;           // 0 to 65535
};

// CR_INVALID where the text is not such an address.
enum cr_status cr_address_parse(const char *text, struct cr_address *out);
void cr_address_format(const struct cr_address *address, char out[CR_ADDRESS_SIZE]);

// Resolves the host for a stream socket: to listen on if `listens`, else to connect to. Returns 0 and sets
// *out, which the caller frees with freeaddrinfo; otherwise returns a code for gai_strerror.
struct addrinfo;
int cr_address_resolve(const struct cr_address *address, bool listens, struct addrinfo **out);

// True for the wildcard addresses, to which only a listener can bind: 0.0.0.0 and ::.
bool cr_address_is_wildcard(const struct cr_address *address);

// True for "unix:PATH", a socket of this machine (socket.h).
bool cr_address_is_unix(const char *text);

#endif
