/* Trains the model of xor.hyb from C, and asks it. `make` builds and runs it. */
#include <stdio.h>
#include <stdlib.h>

#include "xor.h"

static void must(int fault) {
    if (fault) {
        fprintf(stderr, "%s\n", xor_error());
        exit(1);
    }
}

int main(void) {
    float xs[] = {0, 0, 0, 1, 1, 0, 1, 1}, wanted[] = {0, 1, 1, 0}, loss;
    xor_net *net;
    must(xor_net_new(1, &net));
    for (int step = 0; step < 300; step++)
        must(xor_net_learn(net, (xor_f32_2){xs, {4, 2}}, (xor_f32_1){wanted, {4}}, &loss));
    printf("loss %.4f\n", loss);
    for (int i = 0; i < 4; i++) {
        xor_Answer answer;
        must(xor_net_ask(net, i & 2, i & 1, &answer));
        printf("%d xor %d is %d\n", i >> 1, i & 1, answer.exclusive);
    }
    /* A fault in Hyb is a number here, and a text that says what, why and where. */
    if (xor_net_learn(net, (xor_f32_2){xs, {0, 2}}, (xor_f32_1){wanted, {0}}, &loss))
        printf("%s\n", xor_error());
    xor_net_free(net);
    return 0;
}
