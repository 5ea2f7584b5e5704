/* A program that is linked with two shared libraries, each of which contains a copy of libthreading. */
int a_works(void);
int b_works(void);

int main(void)
{
    return a_works() == 1 && b_works() == 1 ? 0 : 1;
}
