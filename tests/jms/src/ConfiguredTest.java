/** A test whose class has a broker with a configuration of its own. */
abstract class ConfiguredTest extends JmsTest {
    /** The same for all tests of the class, which share the broker. */
    abstract Broker.Configuration configuration();

    @Override
    final Broker broker() throws Exception {
        return Broker.configured(configuration());
    }

    /** Elements of a virtual destination interceptor. */
    static String virtual(String destinations) {
        return "<destinationInterceptors><virtualDestinationInterceptor><virtualDestinations>" + destinations
                + "</virtualDestinations></virtualDestinationInterceptor></destinationInterceptors>";
    }
}
