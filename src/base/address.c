#include "base/address.h"

#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum cr_status cr_address_parse(const char *text, struct cr_address *out)
{
    struct cr_address address = {0};
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    bool bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
    if (bracketed) {
        host++;
        length -= 2;
    }
    bool right = colon && length > 0 && length < sizeof address.host;
    for (size_t i = 0; right && i < length; i++) {
        char c = host[i];
        right = isalnum((unsigned char)c) || c == '.' || c == '-' || c == '_' ||
                (bracketed && (c == ':' || c == '%'));
    }
    const char *digits = colon ? colon + 1 : "";
    size_t digit_count = strspn(digits, "0123456789");
    right = right && digit_count >= 1 && digit_count <= 5 && digits[digit_count] == 0;
    for (size_t i = 0; right && i < digit_count; i++)
        address.port = address.port * 10 + (unsigned)(digits[i] - '0');
    if (!right || address.port > 65535)
        return cr_fail(CR_INVALID, "\"%.300s\" is no address: host:port is wanted", text);
    memcpy(address.host, host, length);
    *out = address;
    return CR_OK;
}

void cr_address_format(const struct cr_address *address, char out[CR_ADDRESS_SIZE])
{
    const char *form = strchr(address->host, ':') ? "[%s]:%u" : "%s:%u";
    snprintf(out, CR_ADDRESS_SIZE, form, address->host, address->port);
}

int cr_address_resolve(const struct cr_address *address, bool listens, struct addrinfo **out)
{
    char port[8];
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_NUMERICSERV | (listens ? AI_PASSIVE : 0)};
    snprintf(port, sizeof port, "%u", address->port);
    return getaddrinfo(address->host, port, &wanted, out);
}

bool cr_address_is_wildcard(const struct cr_address *address)
{
    return strcmp(address->host, "0.0.0.0") == 0 || strcmp(address->host, "::") == 0;
}

bool cr_address_is_unix(const char *text)
{
    return strncmp(text, "unix:", 5) == 0;
}
