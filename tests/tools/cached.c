/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cached [-d] FILE: prints how many bytes of it are in the page cache; -d: drops it from there first.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int drop = argc == 3 && !strcmp(argv[1], "-d");
	size_t page = sysconf(_SC_PAGESIZE), n = 0, npages;
	unsigned char *there;
	struct stat st;
	void *map;
	int fd;

	if (argc != 2 + drop) {
		fputs("usage: cached [-d] FILE\n", stderr);
		return 2;
	}
	fd = open(argv[1 + drop], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || !st.st_size) {
		perror(argv[1 + drop]);
		return 1;
	}
	if (drop && (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))) {
		perror("drop");
		return 1;
	}
	npages = (st.st_size + page - 1) / page;
	there = calloc(npages, 1);
	map = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (!there || map == MAP_FAILED || mincore(map, st.st_size, there)) {
		perror("mincore");
		return 1;
	}
	for (size_t i = 0; i < npages; i++)
		n += there[i] & 1;
	printf("%zu\n", n * page);
	return 0;
}
