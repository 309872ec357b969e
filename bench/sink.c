/* An S3-shaped server that drops what it gets: it shows the limit of a client, not its own.
 *
 *     sink PORT LATENCY_MICROSECONDS DIRECTORY [CERTIFICATE KEY]
 *
 * With a certificate (PEM, built with -DTLS -lssl -lcrypto) it speaks TLS 1.3.
 * It keeps size, checksum and metadata of every object in memory, so that HEAD, If-None-Match and the checksum of an
 * object in parts are answered as S3 answers them, and listed (ListObjectsV2, without delimiters); RestoreObject is taken,
 * and told as going on for ever. It checks neither signatures nor checksums. GET sends the files
 * below DIRECTORY (/bucket/name is DIRECTORY/name; more headers, a line each, from name.headers), ranges included.
 * GET /-/stored tells "objects bytes", GET /-/forget forgets them all, GET /-/cold that any were asked back.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *secure;
static __thread SSL *session; /* of the one connection that a thread serves */
#endif

#define HEAD_MAX 65536
#define BUCKETS 262144
#define PARTS_MAX 10000

/* --- SHA-256 (FIPS 180-4), for the composite checksums of multipart uploads alone --- */

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define ROR(x, n) (((x) >> (n)) | ((x) << (32 - (n))))

static void sha_block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ (w[i - 15] >> 3)) +
               (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ (w[i - 2] >> 10));
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + (ROR(v[4], 6) ^ ROR(v[4], 11) ^ ROR(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + K[i] + w[i];
        uint32_t t2 = (ROR(v[0], 2) ^ ROR(v[0], 13) ^ ROR(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

static void sha256(const unsigned char *data, size_t size, unsigned char out[32])
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char last[128] = {0};
    size_t whole = size / 64 * 64, rest = size - whole, padded = rest < 56 ? 64 : 128;
    for (size_t i = 0; i < whole; i += 64)
        sha_block(h, data + i);
    memcpy(last, data + whole, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++)
        last[padded - 1 - i] = (unsigned char)((uint64_t)size * 8 >> (8 * i));
    for (size_t i = 0; i < padded; i += 64)
        sha_block(h, last + i);
    for (int i = 0; i < 32; i++)
        out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* --- base64 --- */

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int from_base64(const char *text, unsigned char *out, int most)
{
    uint32_t bits = 0;
    int held = 0, size = 0;
    for (; *text && *text != '='; text++) {
        const char *at = strchr(ALPHABET, *text);
        if (!at)
            return -1;
        bits = bits << 6 | (uint32_t)(at - ALPHABET);
        if ((held += 6) >= 8) {
            held -= 8;
            if (size == most)
                return -1;
            out[size++] = (unsigned char)(bits >> held);
        }
    }
    return size;
}

static void to_base64(const unsigned char *data, int size, char *out)
{
    for (int i = 0; i < size; i += 3) {
        uint32_t bits = data[i] << 16 | (i + 1 < size ? data[i + 1] << 8 : 0) | (i + 2 < size ? data[i + 2] : 0);
        *out++ = ALPHABET[bits >> 18 & 63];
        *out++ = ALPHABET[bits >> 12 & 63];
        *out++ = i + 1 < size ? ALPHABET[bits >> 6 & 63] : '=';
        *out++ = i + 2 < size ? ALPHABET[bits & 63] : '=';
    }
    *out = 0;
}

/* --- what is stored --- */

struct part {
    long long size;
    int has_digest;
    unsigned char digest[32];
};

struct object {
    struct object *next;
    char *key;      /* as in the request's path; an upload id for an upload in parts */
    char *metadata; /* header lines that HEAD gives back */
    long long size;
    char etag[80];
    char checksum[80];
    struct part *parts; /* of an upload that is not completed */
    int last_part;
    int restoring;
};

static struct object *table[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long long objects, bytes, uploads;
static struct object **sorted; /* all objects by key, as of `sorted_at` changes */
static size_t sorted_count;
static long long changes = 1, sorted_at;
static long latency;
static const char *directory;

static unsigned hash_of(const char *key)
{
    unsigned h = 5381;
    while (*key)
        h = h * 33 + (unsigned char)*key++;
    return h % BUCKETS;
}

static struct object *find(const char *key)
{
    struct object *o = table[hash_of(key)];
    while (o && strcmp(o->key, key))
        o = o->next;
    return o;
}

static void drop(const char *key)
{
    struct object **at = &table[hash_of(key)];
    while (*at && strcmp((*at)->key, key))
        at = &(*at)->next;
    if (!*at)
        return;
    struct object *o = *at;
    *at = o->next;
    changes++;
    if (!o->parts) {
        objects--;
        bytes -= o->size;
    }
    free(o->key);
    free(o->metadata);
    free(o->parts);
    free(o);
}

static struct object *add(const char *key, const char *metadata, long long size)
{
    drop(key);
    struct object *o = calloc(1, sizeof *o);
    o->key = strdup(key);
    o->metadata = strdup(metadata);
    o->size = size;
    unsigned h = hash_of(key);
    o->next = table[h];
    table[h] = o;
    return o;
}

static void count(struct object *o)
{
    objects++;
    changes++;
    bytes += o->size;
}

static int by_key(const void *a, const void *b)
{
    return strcmp((*(struct object *const *)a)->key, (*(struct object *const *)b)->key);
}

/* With the lock held. */
static void sort_objects(void)
{
    if (sorted_at == changes)
        return;
    free(sorted);
    sorted = malloc(((size_t)objects + 1) * sizeof *sorted);
    sorted_count = 0;
    for (int i = 0; i < BUCKETS; i++)
        for (struct object *o = table[i]; o; o = o->next)
            if (!o->parts && sorted_count < (size_t)objects)
                sorted[sorted_count++] = o;
    qsort(sorted, sorted_count, sizeof *sorted, by_key);
    sorted_at = changes;
}

static void forget(void)
{
    for (int i = 0; i < BUCKETS; i++)
        while (table[i])
            drop(table[i]->key);
}

/* --- requests --- */

struct request {
    int socket;
    char buffer[HEAD_MAX + 1];
    size_t held;  /* bytes in the buffer */
    char *method, *path, *query;
    char *headers; /* NUL-separated lines, an empty one last */
    size_t head;   /* size of the head in the buffer */
    long long length;
    int chunked;
};

static const char *header(struct request *r, const char *name)
{
    size_t n = strlen(name);
    for (char *line = r->headers; *line; line += strlen(line) + 1)
        if (!strncasecmp(line, name, n) && line[n] == ':') {
            for (line += n + 1; *line == ' '; line++)
                ;
            return line;
        }
    return NULL;
}

static int asked(struct request *r, const char *name)
{
    size_t n = strlen(name);
    for (char *at = r->query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
        if (!strncmp(at, name, n) && (at[n] == '=' || at[n] == '&' || !at[n]))
            return 1;
    return 0;
}

static void argument(struct request *r, const char *name, char *out, size_t most)
{
    size_t n = strlen(name);
    *out = 0;
    for (char *at = r->query; at && *at; at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL)
        if (!strncmp(at, name, n) && at[n] == '=') {
            size_t size = strcspn(at + n + 1, "&");
            size = size < most - 1 ? size : most - 1;
            memcpy(out, at + n + 1, size);
            out[size] = 0;
        }
}

static ssize_t give(int socket, const char *data, size_t size)
{
#ifdef TLS
    if (session)
        return SSL_write(session, data, size < (1 << 20) ? (int)size : 1 << 20);
#endif
    return send(socket, data, size, MSG_NOSIGNAL);
}

static ssize_t take(int socket, char *into, size_t size)
{
#ifdef TLS
    if (session)
        return SSL_read(session, into, size < (1 << 20) ? (int)size : 1 << 20);
#endif
    return recv(socket, into, size, 0);
}

static int send_all(int socket, const char *data, size_t size)
{
    while (size) {
        ssize_t n = give(socket, data, size);
        if (n <= 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Returns 1 with a request, 0 at the end of the connection. */
static int read_head(struct request *r)
{
    char *end;
    r->buffer[r->held] = 0;
    while (!(end = strstr(r->buffer, "\r\n\r\n"))) {
        ssize_t n = r->held < HEAD_MAX ? take(r->socket, r->buffer + r->held, HEAD_MAX - r->held) : 0;
        if (n <= 0)
            return 0;
        r->held += (size_t)n;
        r->buffer[r->held] = 0;
    }
    r->head = (size_t)(end - r->buffer) + 4;
    end[2] = 0; /* the empty line */
    char *line = r->buffer;
    for (char *at = line; (at = strstr(at, "\r\n")) != NULL && at <= end; at += 1) {
        at[0] = 0;
        memmove(at + 1, at + 2, (size_t)(end + 3 - (at + 2))); /* lines follow each other with one NUL between */
        end -= 1;
    }
    r->method = line;
    r->headers = line + strlen(line) + 1;
    r->path = strchr(line, ' ');
    if (!r->path)
        return 0;
    *r->path++ = 0;
    char *version = strchr(r->path, ' ');
    if (version)
        *version = 0;
    r->query = strchr(r->path, '?');
    if (r->query)
        *r->query++ = 0;
    const char *length = header(r, "Content-Length"), *coding = header(r, "Transfer-Encoding");
    r->length = length ? atoll(length) : 0;
    r->chunked = coding && !strcasecmp(coding, "chunked");
    const char *expect = header(r, "Expect");
    if (expect && !strcasecmp(expect, "100-continue"))
        return !send_all(r->socket, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    return 1;
}

/* Drops so many bytes that are still in the socket, without copying them. */
static int drop_bytes(int socket, long long size)
{
    while (size > 0) {
        size_t most = size < (1 << 20) ? (size_t)size : 1 << 20;
#ifdef TLS
        char dropped[1 << 16];
        ssize_t n = session ? take(socket, dropped, most < sizeof dropped ? most : sizeof dropped)
                            : recv(socket, NULL, most, MSG_TRUNC);
#else
        ssize_t n = recv(socket, NULL, most, MSG_TRUNC);
#endif
        if (n <= 0)
            return -1;
        size -= n;
    }
    return 0;
}

/* A byte of the body, or -1. `at` walks through what the buffer holds, then through the socket. */
static int next_byte(struct request *r, size_t *at)
{
    char byte;
    if (*at < r->held)
        return (unsigned char)r->buffer[(*at)++];
    return take(r->socket, &byte, 1) == 1 ? (unsigned char)byte : -1;
}

static long long drop_chunks(struct request *r, size_t *at)
{
    long long total = 0;
    for (;;) {
        char line[64];
        size_t n = 0;
        int byte;
        while ((byte = next_byte(r, at)) != '\n') {
            if (byte < 0)
                return -1;
            if (n < sizeof line - 1)
                line[n++] = (char)byte;
        }
        line[n] = 0;
        long long size = strtoll(line, NULL, 16);
        for (long long left = size + 2; left > 0;) { /* with its CR LF; trailers are not expected */
            long long here = (long long)(r->held - *at);
            here = here < left ? here : left;
            *at += (size_t)here;
            left -= here;
            if (left > 0 && drop_bytes(r->socket, left))
                return -1;
            left = 0;
        }
        if (!size)
            return total;
        total += size;
    }
}

/* Drops the body and keeps what follows it; returns its size, or -1. The head is of no use afterwards. */
static long long drop_body(struct request *r)
{
    size_t at = r->head;
    long long size = r->length;
    if (r->chunked) {
        size = drop_chunks(r, &at);
        if (size < 0)
            return -1;
    } else {
        long long here = (long long)(r->held - at);
        here = here < size ? here : size;
        at += (size_t)here;
        if (drop_bytes(r->socket, size - here))
            return -1;
    }
    memmove(r->buffer, r->buffer + at, r->held - at);
    r->held -= at;
    return size;
}

/* --- answers --- */

static int answer(int socket, const char *status, const char *headers, const char *body, int body_too)
{
    char out[HEAD_MAX];
    int n = snprintf(out, sizeof out,
                     "HTTP/1.1 %s\r\nx-amz-request-id: sink\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: sink\r\n"
                     "%sContent-Length: %zu\r\n\r\n%s",
                     status, headers, strlen(body), body_too ? body : "");
    return n < (int)sizeof out ? send_all(socket, out, (size_t)n) : -1;
}

static int refuse(int socket, const char *status, const char *code, int body_too)
{
    char body[256];
    snprintf(body, sizeof body, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s</Message></Error>", code, code);
    return answer(socket, status, "Content-Type: application/xml\r\n", body, body_too);
}

/* Keeps the headers that describe an object. */
static void metadata_of(struct request *r, char *out, size_t most)
{
    size_t used = 0;
    *out = 0;
    for (char *line = r->headers; *line; line += strlen(line) + 1)
        if ((!strncasecmp(line, "x-amz-meta-", 11) || !strncasecmp(line, "x-amz-storage-class", 19) ||
             !strncasecmp(line, "content-type", 12)) &&
            used + strlen(line) + 3 < most)
            used += (size_t)sprintf(out + used, "%s\r\n", line);
}

/* An ETag is the MD5 that the client sent; else one that says that it is none. */
static void etag_of(struct request *r, char *out)
{
    unsigned char digest[16];
    const char *md5 = header(r, "Content-MD5");
    if (!md5 || from_base64(md5, digest, 16) != 16) {
        strcpy(out, "00000000000000000000000000000000-1");
        return;
    }
    for (int i = 0; i < 16; i++)
        sprintf(out + 2 * i, "%02x", digest[i]);
}

struct described { /* what is needed of a head after its body was read */
    char path[4096], metadata[8192], etag[80], checksum[80], upload[64];
    int only_new, part;
    long long decoded;
};

static void describe(struct request *r, struct described *d)
{
    char number[16];
    const char *checksum = header(r, "x-amz-checksum-sha256"), *decoded = header(r, "x-amz-decoded-content-length");
    snprintf(d->path, sizeof d->path, "%s", r->path);
    metadata_of(r, d->metadata, sizeof d->metadata);
    etag_of(r, d->etag);
    snprintf(d->checksum, sizeof d->checksum, "%s", checksum ? checksum : "");
    argument(r, "uploadId", d->upload, sizeof d->upload);
    argument(r, "partNumber", number, sizeof number);
    d->part = atoi(number);
    d->only_new = header(r, "If-None-Match") != NULL;
    d->decoded = decoded ? atoll(decoded) : -1;
}

static int stored(int socket, const char *etag, const char *checksum)
{
    char headers[256];
    int n = snprintf(headers, sizeof headers, "ETag: \"%s\"\r\n", etag);
    if (*checksum)
        snprintf(headers + n, sizeof headers - (size_t)n, "x-amz-checksum-sha256: %s\r\n", checksum);
    return answer(socket, "200 OK", headers, "", 1);
}

static int put_object(int socket, struct described *d, long long size)
{
    pthread_mutex_lock(&lock);
    if (d->only_new && find(d->path)) {
        pthread_mutex_unlock(&lock);
        return refuse(socket, "412 Precondition Failed", "PreconditionFailed", 1);
    }
    struct object *o = add(d->path, d->metadata, size);
    strcpy(o->etag, d->etag);
    strcpy(o->checksum, d->checksum);
    count(o);
    pthread_mutex_unlock(&lock);
    return stored(socket, d->etag, d->checksum);
}

static int put_part(int socket, struct described *d, long long size)
{
    pthread_mutex_lock(&lock);
    struct object *upload = find(d->upload);
    int known = upload && upload->parts && d->part >= 1 && d->part <= PARTS_MAX;
    if (known) {
        struct part *part = &upload->parts[d->part - 1];
        part->size = size;
        part->has_digest = from_base64(d->checksum, part->digest, 32) == 32;
        if (d->part > upload->last_part)
            upload->last_part = d->part;
    }
    pthread_mutex_unlock(&lock);
    return known ? stored(socket, d->etag, d->checksum) : refuse(socket, "404 Not Found", "NoSuchUpload", 1);
}

static int begin_upload(int socket, struct described *d)
{
    char id[64], body[8192];
    pthread_mutex_lock(&lock);
    snprintf(id, sizeof id, "upload-%lld", ++uploads);
    struct object *upload = add(id, d->metadata, 0);
    upload->parts = calloc(PARTS_MAX, sizeof *upload->parts);
    pthread_mutex_unlock(&lock);
    snprintf(body, sizeof body,
             "<?xml version=\"1.0\"?><InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key>"
             "<UploadId>%s</UploadId></InitiateMultipartUploadResult>", id);
    return answer(socket, "200 OK", "Content-Type: application/xml\r\n", body, 1);
}

/* With the lock held: makes the object of an upload. */
static struct object *assembled(struct object *upload, struct described *d)
{
    static unsigned char digests[PARTS_MAX * 32];
    unsigned char digest[32];
    int all = 1;
    long long size = 0;
    for (int i = 0; i < upload->last_part; i++) {
        size += upload->parts[i].size;
        all = all && upload->parts[i].has_digest;
        memcpy(digests + 32 * i, upload->parts[i].digest, 32);
    }
    struct object *o = add(d->path, upload->metadata, size);
    snprintf(o->etag, sizeof o->etag, "00000000000000000000000000000000-%d", upload->last_part);
    if (all) {
        sha256(digests, 32 * (size_t)upload->last_part, digest);
        to_base64(digest, 32, o->checksum);
        sprintf(o->checksum + strlen(o->checksum), "-%d", upload->last_part);
    }
    drop(upload->key);
    count(o);
    return o;
}

static int complete_upload(int socket, struct described *d)
{
    char body[8192], checksum[160] = "";
    pthread_mutex_lock(&lock);
    struct object *upload = find(d->upload);
    const char *wrong = !upload || !upload->parts ? "NoSuchUpload" : d->only_new && find(d->path) ? "PreconditionFailed" : NULL;
    if (!wrong) {
        struct object *o = assembled(upload, d);
        if (*o->checksum)
            snprintf(checksum, sizeof checksum, "<ChecksumSHA256>%s</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>",
                     o->checksum);
        snprintf(body, sizeof body,
                 "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><Location>l</Location><Bucket>b</Bucket>"
                 "<Key>k</Key><ETag>\"%s\"</ETag>%s</CompleteMultipartUploadResult>", o->etag, checksum);
    }
    pthread_mutex_unlock(&lock);
    if (wrong)
        return refuse(socket, *wrong == 'N' ? "404 Not Found" : "412 Precondition Failed", wrong, 1);
    return answer(socket, "200 OK", "Content-Type: application/xml\r\n", body, 1);
}

/* /bucket/a%20b -> directory/a b; NULL for what lies nowhere. */
static int file_of(const char *path, char *out, size_t most)
{
    const char *key = path[0] ? strchr(path + 1, '/') : NULL;
    size_t n = (size_t)snprintf(out, most, "%s", directory);
    if (!key || strstr(key, ".."))
        return 0;
    for (; *key && n + 2 < most; key++) {
        unsigned value;
        if (*key == '%' && sscanf(key + 1, "%2x", &value) == 1) {
            out[n++] = (char)value;
            key += 2;
        } else
            out[n++] = *key;
    }
    out[n] = 0;
    return 1;
}

static int send_range(int socket, int file, off_t start, long long size)
{
    while (size > 0) {
#ifdef TLS
        if (session) {
            char some[1 << 16];
            ssize_t read = pread(file, some, size < (long long)sizeof some ? (size_t)size : sizeof some, start);
            if (read <= 0 || send_all(socket, some, (size_t)read))
                return -1;
            start += read;
            size -= read;
            continue;
        }
#endif
        ssize_t n = sendfile(socket, file, &start, size < (1 << 20) ? (size_t)size : 1 << 20);
        if (n <= 0)
            return -1;
        size -= n;
    }
    return 0;
}

static int send_file(int socket, int file, const char *name, const char *range, int body_too)
{
    char more[8192] = "", path[4200], head[HEAD_MAX], told[128] = "";
    struct stat s;
    fstat(file, &s);
    long long first = 0, last = (long long)s.st_size - 1;
    if (range && sscanf(range, "bytes=%lld-%lld", &first, &last) >= 1) {
        last = last < (long long)s.st_size ? last : (long long)s.st_size - 1;
        snprintf(told, sizeof told, "Content-Range: bytes %lld-%lld/%lld\r\n", first, last, (long long)s.st_size);
    }
    snprintf(path, sizeof path, "%s.headers", name);
    FILE *lines = fopen(path, "r");
    if (lines) {
        char line[2048];
        size_t used = 0;
        while (fgets(line, sizeof line, lines)) {
            line[strcspn(line, "\r\n")] = 0;
            if (*line && used + strlen(line) + 3 < sizeof more)
                used += (size_t)sprintf(more + used, "%s\r\n", line);
        }
        fclose(lines);
    }
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %s\r\nServer: sink\r\nx-amz-request-id: sink\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                     "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n%s%s%s"
                     "Content-Length: %lld\r\n\r\n",
                     *told ? "206 Partial Content" : "200 OK", strcasestr(more, "etag:") ? "" : "ETag: \"0-1\"\r\n", told,
                     more, last - first + 1);
    if (send_all(socket, head, (size_t)n))
        return -1;
    return body_too ? send_range(socket, file, first, last - first + 1) : 0;
}

static int get_object(int socket, const char *path, const char *range, int body_too)
{
    char name[4096], headers[HEAD_MAX] = "";
    int file = file_of(path, name, sizeof name) ? open(name, O_RDONLY) : -1;
    struct stat kind;
    if (file >= 0 && (fstat(file, &kind) || !S_ISREG(kind.st_mode))) {
        close(file);
        file = -1;
    }
    if (file >= 0) {
        int result = send_file(socket, file, name, range, body_too);
        close(file);
        return result;
    }
    pthread_mutex_lock(&lock);
    struct object *o = find(path);
    long long size = o ? o->size : -1;
    if (o) {
        int n = snprintf(headers, sizeof headers,
                         "HTTP/1.1 200 OK\r\nServer: sink\r\nx-amz-request-id: sink\r\nETag: \"%s\"\r\n"
                         "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n%s", o->etag, o->metadata);
        if (*o->checksum)
            n += snprintf(headers + n, sizeof headers - (size_t)n, "x-amz-checksum-sha256: %s\r\n", o->checksum);
        snprintf(headers + n, sizeof headers - (size_t)n, "Content-Length: %lld\r\n\r\n", size);
    }
    pthread_mutex_unlock(&lock);
    if (size < 0)
        return refuse(socket, "404 Not Found", "NoSuchKey", body_too);
    if (body_too) /* the bytes are gone */
        return refuse(socket, "403 Forbidden", "InvalidObjectState", 1);
    return send_all(socket, headers, strlen(headers));
}

/* ListObjectsV2: keys stay encoded as in a path, of which %2F alone is decoded in what is asked for. */
static void decode_slashes(char *text)
{
    for (char *at; (at = strstr(text, "%2F")) != NULL;) {
        *at = '/';
        memmove(at + 1, at + 3, strlen(at + 3) + 1);
    }
}

static int list_objects(struct request *r, const char *path)
{
    char prefix[4200], after[4200], most[16], bucket[256], begins[4600], from[4600];
    argument(r, "prefix", prefix, sizeof prefix);
    argument(r, "continuation-token", after, sizeof after);
    if (!*after)
        argument(r, "start-after", after, sizeof after);
    argument(r, "max-keys", most, sizeof most);
    decode_slashes(prefix);
    decode_slashes(after);
    snprintf(bucket, sizeof bucket, "%s", path);
    size_t n = strlen(bucket);
    if (n && bucket[n - 1] == '/')
        bucket[n - 1] = 0;
    snprintf(begins, sizeof begins, "%s/%s", bucket, prefix);
    snprintf(from, sizeof from, "%s/%s", bucket, after);
    size_t skip = strlen(bucket) + 1, limit = *most ? (size_t)atoi(most) : 1000, room = limit * 700 + 8192, used = 0, count = 0;
    limit = limit > 1000 ? 1000 : limit;
    char *body = malloc(room), head[256];
    const char *last = "";
    int more = 0;
    pthread_mutex_lock(&lock);
    sort_objects();
    size_t low = 0, high = sorted_count;
    while (low < high) { /* the first key behind `from`, and at `begins` or behind it */
        size_t middle = (low + high) / 2;
        const char *key = sorted[middle]->key;
        if ((*after && strcmp(key, from) <= 0) || strcmp(key, begins) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    used += (size_t)sprintf(body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
                                  "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>");
    for (; low < sorted_count && !strncmp(sorted[low]->key, begins, strlen(begins)); low++) {
        struct object *o = sorted[low];
        if (count == limit) {
            more = 1;
            break;
        }
        if (used + strlen(o->key) * 2 + 1024 > room)
            body = realloc(body, room *= 2);
        last = o->key + skip;
        used += (size_t)sprintf(body + used,
                                "<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;%s&quot;"
                                "</ETag><Size>%lld</Size><StorageClass>%s</StorageClass>%s</Contents>",
                                last, o->etag, o->size, strcasestr(o->metadata, "x-amz-storage-class: GLACIER") ? "GLACIER" : "STANDARD",
                                o->restoring ? "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>" : "");
        count++;
    }
    used += (size_t)sprintf(body + used, "<KeyCount>%zu</KeyCount><MaxKeys>%zu</MaxKeys><IsTruncated>%s</IsTruncated>", count, limit,
                            more ? "true" : "false");
    if (more)
        used += (size_t)sprintf(body + used, "<NextContinuationToken>%s</NextContinuationToken>", last);
    used += (size_t)sprintf(body + used, "</ListBucketResult>");
    pthread_mutex_unlock(&lock);
    snprintf(head, sizeof head,
             "HTTP/1.1 200 OK\r\nx-amz-request-id: sink\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: sink\r\n"
             "Content-Type: application/xml\r\nContent-Length: %zu\r\n\r\n", used);
    int failed = send_all(r->socket, head, strlen(head)) || send_all(r->socket, body, used);
    free(body);
    return failed ? -1 : 0;
}

static int restore_object(int socket, struct described *d)
{
    pthread_mutex_lock(&lock);
    struct object *o = find(d->path);
    int before = o ? o->restoring : 0;
    if (o)
        o->restoring = 1;
    pthread_mutex_unlock(&lock);
    if (!o)
        return refuse(socket, "404 Not Found", "NoSuchKey", 1);
    return before ? refuse(socket, "409 Conflict", "RestoreAlreadyInProgress", 1) : answer(socket, "202 Accepted", "", "", 1);
}

static int get(struct request *r, const char *path, const char *range, int body_too)
{
    const char *xml = "Content-Type: application/xml\r\n";
    const char *slash = path[0] ? strchr(path + 1, '/') : NULL;
    char body[256];
    if (!strcmp(path, "/-/stored") || !strcmp(path, "/-/forget") || !strcmp(path, "/-/cold")) {
        pthread_mutex_lock(&lock);
        if (path[3] == 'f')
            forget();
        for (int i = 0; path[3] == 'c' && i < BUCKETS; i++)
            for (struct object *o = table[i]; o; o = o->next)
                o->restoring = 0;
        snprintf(body, sizeof body, "%lld %lld", objects, bytes);
        pthread_mutex_unlock(&lock);
        return answer(r->socket, "200 OK", "", body, 1);
    }
    if (slash && slash[1])
        return asked(r, "uploadId") ? refuse(r->socket, "404 Not Found", "NoSuchUpload", body_too)
                                    : get_object(r->socket, path, range, body_too);
    if (!body_too)
        return answer(r->socket, "200 OK", "", "", 0);
    if (asked(r, "uploads"))
        return answer(r->socket, "200 OK", xml,
                      "<?xml version=\"1.0\"?><ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
                      "</ListMultipartUploadsResult>", 1);
    if (asked(r, "location"))
        return answer(r->socket, "200 OK", xml, "<?xml version=\"1.0\"?><LocationConstraint/>", 1);
    if (asked(r, "versioning"))
        return answer(r->socket, "200 OK", xml, "<?xml version=\"1.0\"?><VersioningConfiguration/>", 1);
    return list_objects(r, path);
}

static int post(struct request *r, struct described *d, int begin, int many, int restores)
{
    if (restores)
        return restore_object(r->socket, d);
    if (begin)
        return begin_upload(r->socket, d);
    if (*d->upload)
        return complete_upload(r->socket, d);
    if (many)
        return answer(r->socket, "200 OK", "Content-Type: application/xml\r\n",
                      "<?xml version=\"1.0\"?><DeleteResult></DeleteResult>", 1);
    return refuse(r->socket, "400 Bad Request", "InvalidRequest", 1);
}

static int delete_object(int socket, struct described *d)
{
    pthread_mutex_lock(&lock);
    drop(*d->upload ? d->upload : d->path);
    pthread_mutex_unlock(&lock);
    return send_all(socket, "HTTP/1.1 204 No Content\r\nServer: sink\r\n\r\n", 41);
}

static int handle(struct request *r, struct described *d)
{
    char method[16], range[128] = "";
    int begin = asked(r, "uploads"), many = asked(r, "delete"), restores = asked(r, "restore"), closing = 0;
    const char *asked_range = header(r, "Range"), *connection = header(r, "Connection");
    snprintf(method, sizeof method, "%s", r->method);
    snprintf(range, sizeof range, "%s", asked_range ? asked_range : "");
    closing = connection && !strcasecmp(connection, "close");
    describe(r, d);
    int result;
    if (!strcmp(method, "GET") || !strcmp(method, "HEAD")) {
        if (latency)
            usleep((useconds_t)latency);
        result = get(r, d->path, *range ? range : NULL, *method == 'G');
        return drop_body(r) < 0 || result || closing ? -1 : 0;
    }
    long long size = drop_body(r);
    if (size < 0)
        return -1;
    size = d->decoded >= 0 ? d->decoded : size;
    if (latency)
        usleep((useconds_t)latency);
    const char *slash = strchr(d->path + 1, '/');
    if (!strcmp(method, "PUT"))
        result = !slash || !slash[1] ? answer(r->socket, "200 OK", "", "", 1)
                 : *d->upload        ? put_part(r->socket, d, size)
                                     : put_object(r->socket, d, size);
    else if (!strcmp(method, "POST"))
        result = post(r, d, begin, many, restores);
    else
        result = !strcmp(method, "DELETE") ? delete_object(r->socket, d)
                                           : refuse(r->socket, "405 Method Not Allowed", "MethodNotAllowed", 1);
    return result || closing ? -1 : 0;
}

static void *serve(void *given)
{
    struct request *r = calloc(1, sizeof *r);
    struct described *d = calloc(1, sizeof *d);
    r->socket = (int)(intptr_t)given;
#ifdef TLS
    if (secure) {
        session = SSL_new(secure);
        SSL_set_fd(session, r->socket);
    }
    if (!secure || SSL_accept(session) == 1)
#endif
    while (read_head(r) && !handle(r, d))
        ;
#ifdef TLS
    if (session) {
        SSL_shutdown(session);
        SSL_free(session);
    }
#endif
    close(r->socket);
    free(r);
    free(d);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: sink PORT LATENCY_MICROSECONDS DIRECTORY [CERTIFICATE KEY]\n");
        return 2;
    }
#ifdef TLS
    if (argc == 6) {
        secure = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_min_proto_version(secure, TLS1_3_VERSION);
        if (SSL_CTX_use_certificate_file(secure, argv[4], SSL_FILETYPE_PEM) != 1 ||
            SSL_CTX_use_PrivateKey_file(secure, argv[5], SSL_FILETYPE_PEM) != 1) {
            ERR_print_errors_fp(stderr);
            return 1;
        }
    }
#else
    if (argc == 6) {
        fprintf(stderr, "sink: built without TLS\n");
        return 2;
    }
#endif
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    latency = atol(argv[2]);
    directory = argv[3];
    int one = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 1024)) {
        perror("sink");
        return 1;
    }
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 19);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int connection = accept(listening, NULL, NULL);
        if (connection < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            perror("sink");
            return 1;
        }
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, &small, serve, (void *)(intptr_t)connection))
            close(connection);
    }
}
