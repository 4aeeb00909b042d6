import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Marks a method as a test; its name is the sentence that must hold. */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
@interface Test {
    /** How long the test may take before it counts as failed. */
    int seconds() default 60;

    /** How much longer for each cycle that -Dcycles asks for. */
    int secondsPerCycle() default 0;
}
